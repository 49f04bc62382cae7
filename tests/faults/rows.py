"""The table of faults: what is done, to which events, in this order.

What each one does stands in the modules *_faults.py; what has to hold afterwards, in the oracle.
"""

from __future__ import annotations

from functools import partial

from tests.faults import (
    disk_faults,
    generate_faults,
    input_faults,
    network_faults,
    record_faults,
    score_faults,
    server_faults,
    worker_faults,
)
from tests.faults.scene import Row
from tests.faults.traffic import Mix

ROWS = (
    # First, while there is little to read again.
    Row("read-again", "reactions written again under new offsets, then new workers with empty disks read all topics from 0", input_faults.write_everything_again, rebuilt=True),
    Row("worker-kill", "worker killed ten times at random", worker_faults.kill_ten_times),
    Row("worker-stop", "worker stopped for 25 s and woken (a zombie)", partial(worker_faults.stop_and_go_on, seconds=25)),
    Row("worker-stop-long", "worker stopped for 90 s and woken, then compaction, then rebuilt from empty disks", worker_faults.stop_then_compact_and_rebuild, rate=40, rebuilt=True),
    Row("loop-blocked", "event loops blocked: short stops for 15 s, then one loop for 4 s and one for 8 s", worker_faults.block_the_loop),
    Row("broker-kill", "broker killed", server_faults.kill_the_broker),
    Row("broker-stop", "broker stopped for 30 s, longer than a delivery may take", partial(server_faults.stop_the_broker, seconds=30)),
    Row("kill-in-recovery", "workers killed again while they recover, six times", worker_faults.kill_in_recovery, rebuilt=True),
    Row("kill-in-rebalance", "workers killed while others join and leave", worker_faults.kill_in_rebalance),
    Row("rolling-stop", "every process ended by SIGTERM and started, one after the other", worker_faults.roll),
    Row("add-remove", "a worker added and removed every 5 s", worker_faults.add_and_remove),
    Row("disk-deleted", "worker killed and its disk deleted", worker_faults.kill_and_delete_the_disk, rebuilt=True),
    Row("leaving", "ten people leave while workers are killed, then workers with empty disks", worker_faults.leave, rebuilt=True),
    Row("disk-full-log", "the broker's disk full: it ends, and starts again once there is room", disk_faults.fill_the_log),
    Row("disk-full-state", "a worker's disk full: it ends and says so, and is right once there is room", disk_faults.fill_the_state),
    Row("postgres-away", "PostgreSQL stopped for 15 s", server_faults.take_postgres_away),
    Row("postgres-locked", "PostgreSQL's tables locked for 15 s", server_faults.lock_postgres),
    Row("valkey-emptied", "Valkey killed, its files deleted, and emptied again", server_faults.empty_valkey),
    Row("registry-away", "registry killed: running workers go on", server_faults.take_the_registry_away),
    Row("views-kill", "publish and record killed four times each", worker_faults.kill_the_writers_of_views),
    Row("generate", "who asks a language model killed ten times; its requests doubled and out of order, its answers late, doubled, out of order", generate_faults.kill_who_asks),
    Row("generate-steps", "who asks a language model killed ten times at each of six steps of a request, and while the day's last calls go out", generate_faults.kill_at_each_step, rate=20),
    Row("generate-answers", "cores ask a language model by themselves; who asks it killed ten times, each of its answers late, doubled, out of order", generate_faults.answer_again),
    Row("score-steps", "who has trained models say what they expect killed ten times at each of four steps, and the scorer; the model swapped and rolled back, its word doubled and out of order", score_faults.kill_who_scores, rate=20),
    Row("bad-500", "500 bad in 2,000, and a kill every second", worker_faults.kill_ten_times, Mix(bad_share=0.25), rate=110),
    Row("other-schemas", "an incompatible producer: other schemas, other messages, cut and garbled ones", input_faults.write_other_schemas),
    Row("other-sizes", "records as large as Kafka takes and larger, and times that no event can have", input_faults.write_other_sizes_and_times),
    Row("poison", "a record that ends every process at the door, and one in every fold: each set aside", record_faults.poison, rate=20),
    Row("aborted", "transactions aborted, committed and left open, between plain records", record_faults.take_back, rate=20),
    Row("junk", "junk in every topic of ours, then workers with empty disks", record_faults.litter, rebuilt=True),
    Row("late-doubled", "a fifth sent twice, a fifth late by up to 10 min, with ten kills", worker_faults.kill_ten_times, Mix(duplicate_share=0.2, late_share=0.2)),
    Row("clocks-off", "producers' clocks an hour off, both ways, with ten kills", worker_faults.kill_ten_times, Mix(skew_s=3600)),
    Row("hot-user", "one user with 90 % of the events", worker_faults.nothing(12), Mix(hot_share=0.9)),
    Row("late-write", "older rows written late, workers recover, then compaction, then rebuilt", partial(worker_faults.write_late, recover_first=True), rebuilt=True),
    Row("late-write-unseen", "older rows written late, compaction before any recovery, then rebuilt", partial(worker_faults.write_late, recover_first=False), rebuilt=True),
    # From here on through proxies.
    Row("net-delay", "every packet to and from Kafka 100 to 150 ms late", network_faults.delay),
    Row("net-reset", "connections to Kafka reset again and again for 20 s", network_faults.reset_again_and_again),
    Row("net-black-hole", "Kafka a black hole for 30 s, and what was sent into it arrives afterwards", network_faults.black_hole),
    Row("net-lost-replies", "a tenth of the replies to Produce lost, each with its connection", network_faults.lose_produce_replies),
    Row("net-slow-stop", "workers stopped for 6 s while their records wait for a slow broker, three times", network_faults.stop_while_the_broker_is_slow),
    Row("net-valkey-hole", "Valkey a black hole for 15 s", network_faults.valkey_black_hole),
    Row("postgres-slow", "PostgreSQL slow: 3 to 4 s a round trip", server_faults.slow_postgres),
    # On a stack of its own.
    Row("supervisor", "every process that `oo status` names killed twice, and started again by `oo up`", worker_faults.kill_by_status, supervised=True),
)  # fmt: skip
