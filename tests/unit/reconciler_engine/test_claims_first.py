"""Where a claim can't be written into the status, no topic is made."""

from mailtopic_operator.domain.actions import ClaimTopics, CreateTopic
from mailtopic_operator.engine.store import Key
from mailtopic_operator.engine.work import Work
from mailtopic_operator.kinds import MAIL_TOPIC
from support.mailtopic_world import World


def test_without_its_claim_no_topic_is_made_in_that_pass() -> None:
    world = World()
    work = Work(Key(MAIL_TOPIC.kind, "shop", "mails"), world.body, world.desired)
    work.begin(world.plan())
    (claim,) = work.take_run(ClaimTopics)
    assert any(isinstance(action, CreateTopic) for action in work.todo)
    work.fail(claim)
    assert work.todo == []
    work.begin(world.plan())
    assert work.todo == []
