//! The state machine by tables: what happens when, and which member is active for what cause then.

use super::*;
use crate::config::{self, Attachment};

mod probed;

const PRIMARY: Member = 0;
const SECONDARY: Member = 1;

/// Something that happens.
#[derive(Clone, Copy)]
enum Input {
    Link(Member, bool),
    Lost,
    Answers,
    Force(Member),
    Refused(Member),
    Revert,
    Nothing,
}
use Input::{Answers, Force, Link, Lost, Nothing, Refused, Revert};

fn members(primary: &str, secondary: &str, both: &str) -> Members {
    let text = format!(
        "[interfaces.a]\ndevice = \"net_ring0\"\n{primary}\n[interfaces.b]\ndevice = \"net_ring1\"\n{secondary}\n\
         [interfaces.red]\nmembers = [\"a\", \"b\"]\naddresses = [\"10.0.0.1/24\"]\n{both}\n\
         [tracked-ips.t]\naddresses = [{{ address = \"10.0.0.7\" }}]\nthreshold = 1\n"
    );
    let config = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    match &config.interfaces[0].attachment {
        Attachment::Redundant(redundant) => Members::new(redundant),
        other => panic!("{other:?}"),
    }
}

/// Each line: the time, what happens then, the active member after it, and why it became that if it just did.
fn runs(mut members: Members, table: &[(u64, Input, Member, &str)]) {
    for (line, (now_ms, input, active, cause)) in table.iter().enumerate() {
        match *input {
            Link(member, up) => members.link(member, up),
            Lost => members.tracked(*now_ms, Some("10.0.0.7 does not answer".into())),
            Answers => members.tracked(*now_ms, None),
            Force(member) => members.force(member).expect("its link is up"),
            Refused(member) => assert_eq!(members.force(member), Err(ForceError::Down(member))),
            Revert => members.revert(),
            Nothing => {}
        }
        let switch = members.poll(*now_ms);
        // Probes begin at once; what is lost or answered from here on is about the member that is active now.
        members.is_to_be_judged();
        assert_eq!(members.poll(*now_ms), None, "line {line}: once");
        let told = switch.as_ref().map_or("", |switch| switch.cause.as_str());
        assert_eq!((members.active(), told), (*active, *cause), "line {line}");
        assert!(switch.is_none_or(|switch| switch.to == *active), "line {line}");
    }
}

const A_DOWN: &str = "the link of a is down";
const B_DOWN: &str = "the link of b is down";
const A_BACK: &str = "a is well again";
const UNANSWERED: &str = "10.0.0.7 does not answer";

#[test]
fn without_hold_down_the_secondary_carries_on_at_once_and_the_primary_takes_back_at_once() {
    runs(
        members("", "", ""),
        &[
            (0, Nothing, PRIMARY, ""),
            (10, Link(SECONDARY, false), PRIMARY, ""),
            (20, Link(SECONDARY, true), PRIMARY, ""),
            (30, Link(PRIMARY, false), SECONDARY, A_DOWN),
            (40, Link(PRIMARY, true), PRIMARY, A_BACK),
        ],
    );
}

#[test]
fn each_member_waits_for_its_hold_down_and_from_the_beginning_when_the_other_was_well_meanwhile() {
    runs(
        members("hold-down-ms = 500", "hold-down-ms = 100", ""),
        &[
            (0, Link(PRIMARY, false), PRIMARY, ""),
            (99, Nothing, PRIMARY, ""),
            (99, Link(PRIMARY, true), PRIMARY, ""),
            (100, Link(PRIMARY, false), PRIMARY, ""),
            (199, Nothing, PRIMARY, ""),
            (200, Nothing, SECONDARY, A_DOWN),
            (1000, Link(PRIMARY, true), SECONDARY, ""),
            (1400, Link(PRIMARY, false), SECONDARY, ""),
            (1450, Link(PRIMARY, true), SECONDARY, ""),
            (1949, Nothing, SECONDARY, ""),
            (1950, Nothing, PRIMARY, A_BACK),
        ],
    );
}

#[test]
fn with_both_down_nothing_moves_until_one_is_back() {
    runs(
        members("", "", ""),
        &[
            (0, Link(SECONDARY, false), PRIMARY, ""),
            (1, Link(PRIMARY, false), PRIMARY, ""),
            (2, Link(SECONDARY, true), SECONDARY, A_DOWN),
            (3, Link(SECONDARY, false), SECONDARY, ""),
            (4, Link(PRIMARY, true), PRIMARY, B_DOWN),
        ],
    );
}

#[test]
fn a_tracked_ip_fails_the_active_member_over_and_it_stays_failed_until_its_link_came_back() {
    runs(
        members("", "", "track = \"t\""),
        &[
            (0, Lost, SECONDARY, UNANSWERED),
            (1, Answers, SECONDARY, ""),
            (60_000, Nothing, SECONDARY, ""),
            (60_001, Link(PRIMARY, false), SECONDARY, ""),
            (60_002, Link(PRIMARY, true), PRIMARY, A_BACK),
        ],
    );
}

#[test]
fn what_answers_by_neither_member_moves_nothing_a_second_time() {
    runs(
        members("", "", "track = \"t\""),
        &[
            (0, Lost, SECONDARY, UNANSWERED),
            (1, Lost, SECONDARY, ""),
            (2, Link(SECONDARY, false), PRIMARY, B_DOWN),
            (3, Link(SECONDARY, true), SECONDARY, UNANSWERED),
            (4, Answers, SECONDARY, ""),
            // The link is all that is known of the primary, and it is worse than none.
            (5, Link(SECONDARY, false), PRIMARY, B_DOWN),
            (6, Answers, PRIMARY, ""),
        ],
    );
}

#[test]
fn a_member_that_a_tracked_ip_failed_is_tried_again_where_that_is_configured() {
    runs(
        members("", "", "track = \"t\"\ntrack-retry-s = 60"),
        &[
            (0, Lost, SECONDARY, UNANSWERED),
            (1000, Answers, SECONDARY, ""),
            (59_999, Nothing, SECONDARY, ""),
            (60_000, Nothing, PRIMARY, A_BACK),
            (63_000, Lost, SECONDARY, UNANSWERED),
            (123_000, Nothing, SECONDARY, ""),
            // The secondary is judged before the primary is tried.
            (123_001, Answers, PRIMARY, A_BACK),
        ],
    );
}

#[test]
fn a_forced_member_is_the_preferred_one_until_it_is_reverted() {
    runs(
        members("hold-down-ms = 500", "hold-down-ms = 100", ""),
        &[
            (0, Force(SECONDARY), SECONDARY, "forced by command"),
            (10_000, Nothing, SECONDARY, ""),
            (10_000, Link(SECONDARY, false), SECONDARY, ""),
            (10_500, Nothing, PRIMARY, B_DOWN),
            (10_600, Link(SECONDARY, true), PRIMARY, ""),
            (10_700, Nothing, SECONDARY, "b is well again"),
            (10_800, Revert, PRIMARY, "reverted by command"),
            (10_900, Revert, PRIMARY, ""),
        ],
    );
}

#[test]
fn a_member_whose_link_is_down_is_not_forced() {
    runs(
        members("", "", ""),
        &[
            (0, Link(SECONDARY, false), PRIMARY, ""),
            (1, Refused(SECONDARY), PRIMARY, ""),
            (2, Link(SECONDARY, true), PRIMARY, ""),
            (3, Force(SECONDARY), SECONDARY, "forced by command"),
            (4, Link(PRIMARY, false), SECONDARY, ""),
            (5, Revert, SECONDARY, ""),
            (6, Link(PRIMARY, true), PRIMARY, A_BACK),
        ],
    );
}

#[test]
fn a_command_trusts_what_a_tracked_ip_had_failed() {
    runs(
        members("", "", "track = \"t\""),
        &[
            (0, Lost, SECONDARY, UNANSWERED),
            (1, Revert, PRIMARY, "reverted by command"),
            (2, Lost, SECONDARY, UNANSWERED),
            (3, Force(PRIMARY), PRIMARY, "forced by command"),
        ],
    );
}

#[test]
fn what_is_due_next_is_known() {
    let mut members = members("", "hold-down-ms = 100", "track = \"t\"\ntrack-retry-s = 60");
    assert_eq!(members.due_ms(), None);
    members.tracked(7, Some(UNANSWERED.into()));
    assert_eq!((members.poll(7), members.due_ms()), (None, Some(107)));
    assert!(members.poll(107).is_some());
    assert_eq!((members.due_ms(), members.is_to_be_judged()), (None, true));
    members.tracked(300, None);
    assert_eq!(members.due_ms(), Some(60_007), "when the primary is tried again");
}
