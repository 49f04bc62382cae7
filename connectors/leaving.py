"""Asking for somebody to be forgotten, and reading who has left: what the edge and operators' commands share.

It sends nothing, and decides nothing of what follows: the engine folds the request like any other record.
"""

from __future__ import annotations

from oo.v1.erased_pb2 import Erased
from oo.v1.subject_request_pb2 import PURPOSE_TASKS, SubjectRequest
from streams.cluster import Cluster
from streams.frames import Frames
from streams.partitioner import partition_of
from streams.reader import end_offsets, read_partition, topic_id, topic_ids
from streams.topics import ENTRANCES
from tables.leavers import Leavers, read


async def leave(cluster: Cluster, user_id: str, *, receipt: str) -> SubjectRequest:
    """The request to forget this person: what stands in the public topics by now is of the life that ends."""
    request = SubjectRequest(request_id=receipt, user_id=user_id)
    request.erasure.SetInParent()
    ids = await topic_ids(cluster, [cluster.name(name) for name in ENTRANCES.values()])
    for name, its_id in ids.items():
        for number, end in sorted((await end_offsets(cluster, name)).items()):
            request.erasure.ends.add(topic_id=its_id, partition=number, offset=end)
    return request


def begin_again(user_id: str, *, request_id: str, receipt: str) -> SubjectRequest:
    """The request of somebody who left to begin anew; it names their leaving, so that no older word does it."""
    request = SubjectRequest(request_id=request_id, user_id=user_id)
    request.consent_changed.purpose, request.consent_changed.granted = PURPOSE_TASKS, True
    request.consent_changed.knows_of = receipt
    return request


async def word_of(cluster: Cluster, user_id: str) -> Erased | None:
    """What is said of this person's leaving; None for who never left."""
    number = partition_of(user_id.encode(), cluster.topics["erasures"].partitions)
    return (await leavers_of(cluster, only=number)).word_of(user_id)


async def leavers_of(cluster: Cluster, *, only: int | None = None) -> Leavers:
    """Who has left until now; of one partition where that is enough."""
    schemas, leavers = Frames(), Leavers(await topic_id(cluster, "journal"))
    for number in range(cluster.topics["erasures"].partitions) if only is None else (only,):
        async for records in read_partition(cluster, cluster.name("erasures"), number):
            for record in records:
                if (word := read(schemas, record)) is not None:
                    leavers.add(word)
    return leavers
