//! TCP tracking: the state machine of RFC 6146 section 3.5.2, as RFC 7857 section 2 wants it for every NAT.
//!
//! ```text
//!               SYN in            SYN out
//!   none ---> OpeningInside ---------------+           FIN in              FIN out
//!   none ---> OpeningOutside ------SYN in--+--> Established --> FinInside  --------+--> FinBoth
//!               SYN out                          |   ^      --> FinOutside --FIN in+
//!                                                RST |data
//!                                                v   |
//!                                               Reset           SYN in FinBoth or Reset: opening again
//! ```
//!
//! "in" is a segment that leaves the inside, "out" one that comes from outside. There is no window tracking here: a RST
//! therefore does not end a session but puts it on the closing timer, and data brings it back (RFC 7857 section 2.3).

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
    /// A RST ("TRANS").
    Reset = 7,
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
            Self::FinBoth | Self::Reset => TimerClass::TcpClosing,
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
            _ if rst => Self::Reset,
            Self::OpeningInside if syn && !from_inside => Self::Established,
            Self::OpeningOutside if syn && from_inside => Self::Established,
            Self::OpeningInside | Self::OpeningOutside => self,
            Self::Established | Self::FinInside if fin && from_inside => Self::FinInside,
            Self::Established | Self::FinOutside if fin && !from_inside => Self::FinOutside,
            Self::FinInside | Self::FinOutside if fin => Self::FinBoth,
            Self::Established | Self::FinInside | Self::FinOutside => self,
            // A new connection over the same four-tuple before the old one's timer ran out.
            Self::FinBoth | Self::Reset if syn && flags & tcp::ACK == 0 => {
                if from_inside {
                    Self::OpeningInside
                } else {
                    Self::OpeningOutside
                }
            }
            Self::FinBoth => self,
            Self::Reset => Self::Established,
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
        for state in [
            State::OpeningInside,
            State::OpeningOutside,
            State::Established,
            State::FinInside,
        ] {
            let reset = state.next(RST, false);
            assert_eq!((reset, reset.timer()), (State::Reset, TimerClass::TcpClosing));
        }
        assert_eq!(State::FinBoth.next(RST, true), State::FinBoth);
        assert_eq!(State::Reset.next(ACK, true), State::Established);
        assert_eq!(State::Reset.next(RST, true), State::Reset);
    }

    #[test]
    fn a_tuple_is_used_again() {
        assert_eq!(State::FinBoth.next(SYN, true), State::OpeningInside);
        assert_eq!(State::Reset.next(SYN, false), State::OpeningOutside);
    }

    #[test]
    fn numbers_round_trip() {
        for n in 0..8u8 {
            assert_eq!(State::from_u8(n) as u8, n);
        }
    }
}
