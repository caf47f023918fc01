//! Input: a frame. Walks its tags and goes on into IPv4 or IPv6 as the ethertype says.

use tandem_wire::{Ipv6, ethernet, icmp6, ipv6, l4};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(meta) = ethernet::parse(data) else {
        return;
    };
    let l3 = data
        .get(usize::from(meta.l3_offset)..)
        .expect("the header is inside the frame");
    let tags: Vec<_> = meta.outer.into_iter().chain(meta.inner).collect();
    let mut header = [0u8; ethernet::HEADER_LEN_MAX];
    let len = ethernet::write_header(&mut header, meta.dst, meta.src, &tags, meta.ethertype);
    assert_eq!(
        len.map(|len| &header[..len]),
        data.get(..usize::from(meta.l3_offset))
    );
    match meta.ethertype {
        ethernet::IPV4 => {
            let plain = l4::parse_ipv4(l3);
            if let Ok(verified) = l4::parse_ipv4_verified(l3) {
                assert_eq!(plain, Ok(verified));
            }
        }
        ethernet::IPV6 => {
            let Ok(ip) = Ipv6::new_checked(l3) else { return };
            let Ok(upper) = ip.upper() else { return };
            let _ = ipv6::check_fragment(ip.packet().len(), &upper);
            let message = ip
                .packet()
                .get(usize::from(upper.offset)..)
                .expect("the upper layer is inside");
            let _ = icmp6::Icmp6::new_checked(message).map(|m| m.verify_checksum(ip.src(), ip.dst()));
        }
        _ => {}
    }
}
