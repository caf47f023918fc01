//! A packet in memory, as code that rewrites it sees it: it starts at its IP header, its front can move, its tail can be cut.
//!
//! Translation between families changes the length of the header, so whoever holds packets (a DPDK buffer, a vector in a
//! test) says here how to make room before one.

/// A packet that starts at its IP header. Headers are contiguous.
pub trait Packet {
    /// Its bytes from the IP header on (of a chained packet: the first segment's).
    fn l3(&self) -> &[u8];
    /// The same, to rewrite.
    fn l3_mut(&mut self) -> &mut [u8];
    /// Puts `octets` octets of any content before the packet. False, and nothing changed, when there is no room.
    fn grow_front(&mut self, octets: u16) -> bool;
    /// Takes `octets` octets off the front. False, and nothing changed, when it is shorter.
    fn shrink_front(&mut self, octets: u16) -> bool;
    /// Cuts the packet to its first `octets` octets. False, and nothing changed, when it is shorter or chained.
    fn truncate(&mut self, octets: u16) -> bool;
}

impl Packet for Vec<u8> {
    #[inline(always)]
    fn l3(&self) -> &[u8] {
        self
    }
    #[inline(always)]
    fn l3_mut(&mut self) -> &mut [u8] {
        self
    }
    fn grow_front(&mut self, octets: u16) -> bool {
        self.splice(0..0, std::iter::repeat_n(0, usize::from(octets)));
        true
    }
    fn shrink_front(&mut self, octets: u16) -> bool {
        let fits = usize::from(octets) <= self.len();
        if fits {
            self.drain(..usize::from(octets));
        }
        fits
    }
    fn truncate(&mut self, octets: u16) -> bool {
        let fits = usize::from(octets) <= self.len();
        if fits {
            Vec::truncate(self, usize::from(octets));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_moves_its_front_and_loses_its_tail() {
        let mut packet = vec![1, 2, 3, 4];
        assert!(packet.grow_front(2));
        assert_eq!(packet.l3()[2..], [1, 2, 3, 4]);
        assert!(packet.shrink_front(3) && !packet.shrink_front(9));
        assert!(Packet::truncate(&mut packet, 2) && !Packet::truncate(&mut packet, 9));
        assert_eq!(packet.l3(), [2, 3]);
    }
}
