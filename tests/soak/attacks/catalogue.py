"""All attacks, in the order in which they are run."""

from tests.soak.attacks import attackers, configurations
from tests.soak.attacks.attack import Attack

NOBODY = 65534

ATTACKS = (
    Attack("searches", configurations.searched, attackers.search, 800),
    Attack("lists", configurations.listed, attackers.spell_lists, 60),
    Attack("lists-anew", configurations.listed_anew, attackers.spell_lists, 60),
    Attack("people-in-files", configurations.files, attackers.search_and_list, 50),
    Attack("unread-networks", configurations.long_answers, attackers.ignore_answers_of_many_networks, 2000),
    Attack("unread-sites", configurations.long_answers, attackers.ignore_answers_of_many_sites, 2000),
    Attack("unread-unix", configurations.few_places, attackers.ignore_answers_of_unix, 1200, uid=NOBODY),
    Attack("lingering", configurations.lingering, attackers.linger, 4800, pause=0.3),
    Attack("parked", configurations.parked, attackers.park, 4000),
    Attack("parked-small", configurations.parked, attackers.park_small, 4000),
    Attack("new-addresses", configurations.denied_networks, attackers.appear, 600),
    Attack("queued-jobs", configurations.hanging, attackers.queue, 15_000, growth=30.0),  # kept ones cost 5 KB each
    Attack(
        "stuck-log", configurations.stuck_log, attackers.flood_log, attackers.LOG_QUERIES, growth=50.0, stuck_log=True
    ),
    Attack("http-slow", configurations.http, attackers.stop_within_requests, 2100, by_http=True),
    Attack("stall", configurations.plain, attackers.stall, 600, has_good_client=False),
)
