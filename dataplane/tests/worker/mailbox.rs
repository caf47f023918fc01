//! What the control side asks of a worker: programs and queries.

use std::sync::Arc;

use tandem_dataplane::command::Command;
use tandem_dataplane::dataplane::commit;
use tandem_engine::view::{Ask, Filter, Query};

use crate::frames::{frame, udp};
use crate::plan::*;
use crate::rig::Rig;

/// More sessions than a query looks at in one turn.
const SESSIONS: u16 = 1500;

#[test]
fn a_program_does_not_wait_for_queries() {
    let mut rig = Rig::new();
    let frames: Vec<_> = (0..SESSIONS)
        .map(|i| frame(P_IN, udp((IN1, 2000 + i), (OUT1, 53))))
        .collect();
    rig.feed(P_IN, &frames);
    let mailbox = Arc::clone(&rig.mailboxes[0]);
    let mut asked = 0;
    let question = || Box::new(Query::new(Ask::CountSessions, Filter::default(), 0, 0));
    while mailbox.commands.push(Command::Query(asked, question())).is_ok() {
        asked += 1;
    }
    // The first one is under way.
    rig.turn_once();
    rig.turn_once();
    assert!(mailbox.answers.is_empty());
    for generation in [7, 8] {
        let mut next = program();
        next.generation = generation;
        let room = mailbox.programs.push(commit(&Arc::new(next)));
        assert!(
            room.is_ok(),
            "a full queue of queries takes no room from programs"
        );
        rig.turn_once();
        assert_eq!(rig.stats[0].program(), u64::from(generation), "at the next turn");
    }
    assert_eq!(mailbox.left.len(), 2);
    // And the queries get their answers, in order and complete.
    let mut answered = 0;
    for _ in 0..asked * 8 {
        rig.turn_once();
        while let Some((number, query)) = mailbox.answers.pop() {
            assert_eq!((number, query.matched), (answered, u64::from(SESSIONS)));
            answered += 1;
        }
    }
    assert_eq!(answered, asked);
    rig.finish();
}
