//! TCP tracking: the state machine of RFC 6146 section 3.5.2, as RFC 7857 section 2 wants it for every NAT.
//!
//! ```text
//!               SYN in            SYN out
//!   none ---> OpeningInside ---------------+           FIN in              FIN out
//!   none ---> OpeningOutside ------SYN in--+--> Established --> FinInside  --------+--> FinBoth
//!               SYN out                          |   ^      --> FinOutside --FIN in+
//!                                                RST |data
//!                                                v   |
//!                                               Reset
//!
//!   OpeningX --RST--> ResetOpeningX --SYN+ACK of the other side--> Established
//!   FinBoth, Reset, ResetOpeningX --SYN--> opening again
//! ```
//!
//! "in" is a segment that leaves the inside, "out" one that comes from outside. There is no window tracking here: a RST
//! therefore does not end a session but puts it on the closing timer, and data brings it back (RFC 7857 section 2.3). That is
//! for sessions that were established: before, data proves nothing, or one side alone could hold a session for two hours.

use tandem_wire::tcp;

/// State of a session's protocol; [`State::Active`] for everything that is not TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not TCP.
    Active = 0,
    /// SYN from inside ("V6 INIT").
    OpeningInside = 1,
    /// SYN from outside ("V4 INIT").
    OpeningOutside = 2,
    /// Both SYNs seen.
    Established = 3,
    /// FIN from inside.
    FinInside = 4,
    /// FIN from outside.
    FinOutside = 5,
    /// Both FINs.
    FinBoth = 6,
    /// A RST after both SYNs ("TRANS").
    Reset = 7,
    /// A RST after a SYN from inside alone.
    ResetOpeningInside = 8,
    /// A RST after a SYN from outside alone.
    ResetOpeningOutside = 9,
}

/// Which idle timeout applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimerClass {
    /// TCP, opening.
    TcpOpening = 0,
    /// TCP, established.
    TcpEstablished = 1,
    /// TCP, closing.
    TcpClosing = 2,
    /// UDP.
    Udp = 3,
    /// UDP to a well-known port.
    UdpWellKnown = 4,
    /// ICMP query.
    Icmp = 5,
    /// Everything else.
    Other = 6,
}

impl TimerClass {
    /// How many there are.
    pub const COUNT: usize = 7;
}

impl State {
    /// The state behind its number; numbers no session ever stored count as [`State::Active`].
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::OpeningInside,
            2 => Self::OpeningOutside,
            3 => Self::Established,
            4 => Self::FinInside,
            5 => Self::FinOutside,
            6 => Self::FinBoth,
            7 => Self::Reset,
            8 => Self::ResetOpeningInside,
            9 => Self::ResetOpeningOutside,
            _ => Self::Active,
        }
    }

    /// The idle timeout of a TCP state.
    #[must_use]
    pub const fn timer(self) -> TimerClass {
        match self {
            Self::OpeningInside | Self::OpeningOutside => TimerClass::TcpOpening,
            Self::Established | Self::FinInside | Self::FinOutside | Self::Active => {
                TimerClass::TcpEstablished
            }
            Self::FinBoth | Self::Reset | Self::ResetOpeningInside | Self::ResetOpeningOutside => {
                TimerClass::TcpClosing
            }
        }
    }

    /// The state after a segment with `flags`, `from_inside` or not.
    #[inline(always)]
    #[must_use]
    pub const fn next(self, flags: u8, from_inside: bool) -> Self {
        let (syn, fin, rst) = (
            flags & tcp::SYN != 0,
            flags & tcp::FIN != 0,
            flags & tcp::RST != 0,
        );
        // Nearly every segment of an established session: nothing to look at.
        if matches!(self, Self::Established) && !fin && !rst {
            return self;
        }
        match self {
            Self::Active => self,
            // Nothing of the old connection is worth bringing back: data after both FINs does not (RFC 6146 section 3.5.2.2).
            Self::FinBoth if rst => self,
            Self::OpeningInside | Self::ResetOpeningInside if rst => Self::ResetOpeningInside,
            Self::OpeningOutside | Self::ResetOpeningOutside if rst => Self::ResetOpeningOutside,
            _ if rst => Self::Reset,
            Self::OpeningInside if syn && !from_inside => Self::Established,
            Self::OpeningOutside if syn && from_inside => Self::Established,
            Self::OpeningInside | Self::OpeningOutside => self,
            Self::Established | Self::FinInside if fin && from_inside => Self::FinInside,
            Self::Established | Self::FinOutside if fin && !from_inside => Self::FinOutside,
            Self::FinInside | Self::FinOutside if fin => Self::FinBoth,
            Self::Established | Self::FinInside | Self::FinOutside => self,
            // A new connection over the same four-tuple before the old one's timer ran out.
            Self::FinBoth | Self::Reset | Self::ResetOpeningInside | Self::ResetOpeningOutside
                if syn && flags & tcp::ACK == 0 =>
            {
                if from_inside {
                    Self::OpeningInside
                } else {
                    Self::OpeningOutside
                }
            }
            Self::FinBoth => self,
            Self::Reset => Self::Established,
            // The answer to the SYN: the RST was not the peer's, or not taken.
            Self::ResetOpeningInside if syn && !from_inside => Self::Established,
            Self::ResetOpeningOutside if syn && from_inside => Self::Established,
            Self::ResetOpeningInside | Self::ResetOpeningOutside => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcp::{ACK, FIN, RST, SYN};

    fn run(start: State, segments: &[(u8, bool)]) -> State {
        segments
            .iter()
            .fold(start, |s, (flags, inside)| s.next(*flags, *inside))
    }

    #[test]
    fn three_way_handshake_from_either_side() {
        assert_eq!(
            run(State::OpeningInside, &[(SYN | ACK, false), (ACK, true)]),
            State::Established
        );
        assert_eq!(
            run(State::OpeningOutside, &[(SYN | ACK, true), (ACK, false)]),
            State::Established
        );
        assert_eq!(
            run(State::OpeningInside, &[(SYN, true), (ACK, true)]),
            State::OpeningInside,
            "retransmission"
        );
    }

    #[test]
    fn simultaneous_open() {
        assert_eq!(run(State::OpeningInside, &[(SYN, false)]), State::Established);
        assert_eq!(run(State::OpeningOutside, &[(SYN, true)]), State::Established);
    }

    #[test]
    fn half_close_both_orders_and_data_after_it() {
        let half = run(
            State::Established,
            &[(FIN | ACK, true), (ACK, false), (ACK, false)],
        );
        assert_eq!(half, State::FinInside);
        assert_eq!(
            run(half, &[(FIN | ACK, true), (FIN | ACK, false), (ACK, true)]),
            State::FinBoth
        );
        assert_eq!(
            run(State::Established, &[(FIN, false), (ACK, true), (FIN, true)]),
            State::FinBoth
        );
    }

    #[test]
    fn rst_goes_to_the_closing_timer_and_data_restores() {
        for state in [State::Established, State::FinInside, State::FinOutside] {
            let reset = state.next(RST, false);
            assert_eq!((reset, reset.timer()), (State::Reset, TimerClass::TcpClosing));
        }
        assert_eq!(State::FinBoth.next(RST, true), State::FinBoth);
        assert_eq!(State::Reset.next(ACK, true), State::Established);
        assert_eq!(State::Reset.next(RST, true), State::Reset);
    }

    #[test]
    fn one_side_alone_establishes_nothing_by_a_rst() {
        for (opening, reset, inside) in [
            (State::OpeningInside, State::ResetOpeningInside, true),
            (State::OpeningOutside, State::ResetOpeningOutside, false),
        ] {
            for rst_from_inside in [true, false] {
                assert_eq!(opening.next(RST, rst_from_inside), reset);
                assert_eq!(opening.next(RST | ACK, rst_from_inside), reset);
                assert_eq!(reset.next(RST, rst_from_inside), reset);
            }
            assert_eq!(reset.timer(), TimerClass::TcpClosing);
            for flags in [ACK, ACK | tcp::PSH, FIN, FIN | ACK, 0] {
                assert_eq!(reset.next(flags, inside), reset, "{flags:#x}");
                assert_eq!(reset.next(flags, !inside), reset, "{flags:#x}");
            }
            assert_eq!(reset.next(SYN | ACK, inside), reset, "an answer to nobody's SYN");
            assert_eq!(reset.next(SYN, inside), opening, "tried again");
            // A forged RST between SYN and SYN+ACK does the connection no harm.
            assert_eq!(
                run(opening, &[(RST, !inside), (SYN | ACK, !inside), (ACK, inside)]),
                State::Established
            );
        }
    }

    #[test]
    fn a_tuple_is_used_again() {
        assert_eq!(State::ResetOpeningInside.next(SYN, false), State::OpeningOutside);
        assert_eq!(State::ResetOpeningOutside.next(SYN, true), State::OpeningInside);
        assert_eq!(State::FinBoth.next(SYN, true), State::OpeningInside);
        assert_eq!(State::Reset.next(SYN, false), State::OpeningOutside);
    }

    #[test]
    fn numbers_round_trip() {
        for n in 0..10u8 {
            assert_eq!(State::from_u8(n) as u8, n);
        }
    }
}
