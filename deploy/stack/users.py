"""Makes Kafka's users and their rights what rights.py says, as its super user.

It never touches a user, or an access control list of a user, that rights.py does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.stack.rights import RIGHTS, Acl, acls
from deploy.stack.topics import TIMEOUT_S, admin
from streams.cluster import Cluster

ITERATIONS = 4096
"""Of SCRAM-SHA-512; passwords of ours are 32 random characters, which no number of guesses finds."""


def ensure_users(cluster: Cluster, passwords: Mapping[str, str]) -> None:
    """Has each role sign in with its password. Blocks; raises KafkaException."""
    from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    wanted: list[Any] = [
        UserScramCredentialUpsertion(role, info, password.encode()) for role, password in passwords.items()
    ]
    client = admin(cluster)
    for future in client.alter_user_scram_credentials(wanted).values():
        future.result(timeout=TIMEOUT_S)


def ensure_rights(cluster: Cluster) -> None:
    """Gives each role exactly what stands in the table, and takes what an older build gave beyond it.

    Blocks; raises KafkaException.
    """
    client = admin(cluster)
    for role, rights in RIGHTS.items():
        principal = f"User:{role}"
        wanted = acls(rights, role, cluster)
        answer = client.describe_acls(_filter(principal)).result(timeout=TIMEOUT_S)
        found = {_acl(one): one for one in answer}
        missing = [_binding(one, principal) for one in sorted(wanted - found.keys())]
        if missing:
            for future in client.create_acls(missing).values():
                future.result(timeout=TIMEOUT_S)
        surplus = [_filter(principal, one) for one in sorted(found.keys() - wanted)]
        if surplus:
            for future in client.delete_acls(surplus).values():
                future.result(timeout=TIMEOUT_S)


def _acl(binding: Any) -> Acl:
    resource = "CLUSTER" if binding.restype.name == "BROKER" else binding.restype.name
    return Acl(resource, binding.name, binding.resource_pattern_type.name, binding.operation.name)


def _binding(acl: Acl, principal: str) -> Any:
    from confluent_kafka.admin import AclBinding

    return AclBinding(*_told(acl, principal))


def _filter(principal: str, acl: Acl | None = None) -> Any:
    """Of one line, or of all that a user has."""
    from confluent_kafka.admin import (
        AclBindingFilter,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    if acl is not None:
        return AclBindingFilter(*_told(acl, principal))
    anything: Any = None
    return AclBindingFilter(
        *(ResourceType.ANY, anything, ResourcePatternType.ANY, principal, anything),
        *(AclOperation.ANY, AclPermissionType.ANY),
    )


def _told(acl: Acl, principal: str) -> tuple[Any, ...]:
    from confluent_kafka.admin import AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    # librdkafka's name for the cluster as a whole.
    resource = ResourceType["BROKER" if acl.resource == "CLUSTER" else acl.resource]
    return (
        *(resource, acl.name, ResourcePatternType[acl.pattern], principal, "*"),
        *(AclOperation[acl.operation], AclPermissionType.ALLOW),
    )
