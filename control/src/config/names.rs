//! The names of the configuration: the operator's own, kernel interfaces, link addresses, sockets and paths.

use std::net::SocketAddr;

use super::fault::{Bad, quoted};

/// Longest name of a pool, rule, interface and so on, in characters.
const NAME_CHARS_MAX: usize = 63;
/// Longest name of a kernel interface, in bytes (IFNAMSIZ less the final zero).
const IFNAME_BYTES_MAX: usize = 15;

/// A name the operator gives: it appears in views, logs and API paths.
pub(super) fn name(text: &str) -> Result<(), Bad> {
    let fits = !text.is_empty() && text.len() <= NAME_CHARS_MAX;
    let head = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if fits
        && head
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        return Ok(());
    }
    Err(Bad::new(
        format!("{} cannot be a name", quoted(text)),
        format!("use 1 to {NAME_CHARS_MAX} letters, digits, \"-\", \"_\" or \".\", a letter or digit first"),
    ))
}

/// The same for values instead of keys.
pub(super) fn name_value(text: &str) -> Result<String, Bad> {
    name(text).map(|()| text.to_owned())
}

/// A reference to something by name: checked when all names are known.
pub(super) fn reference(text: &str) -> Result<String, Bad> {
    if text.is_empty() {
        return Err(Bad::new(
            "the name is empty",
            "use the name of a section of this file",
        ));
    }
    Ok(text.to_owned())
}

/// A name the kernel accepts for an interface.
pub(super) fn ifname(text: &str) -> Result<String, Bad> {
    let fits = !text.is_empty() && text.len() <= IFNAME_BYTES_MAX && text != "." && text != "..";
    if fits
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"/:%\"'\\".contains(c))
    {
        return Ok(text.to_owned());
    }
    Err(Bad::new(
        format!("{} cannot be the name of a kernel interface", quoted(text)),
        format!(
            "use 1 to {IFNAME_BYTES_MAX} printable characters without \"/\", \":\", \"%\", quotes and blanks"
        ),
    ))
}

/// A unicast MAC address, `02:00:00:00:00:01`.
pub(super) fn mac(text: &str) -> Result<[u8; 6], Bad> {
    let wrong = || {
        Bad::new(
            format!("{} is not a MAC address", quoted(text)),
            "use six octets, like \"02:00:00:00:00:01\"",
        )
    };
    let mut octets = [0u8; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()));
        *octet = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    if octets[0] & 1 == 1 || octets == [0; 6] {
        let problem = format!("{} is not a unicast address", quoted(text));
        return Err(Bad::new(
            problem,
            "use an even first octet, like \"02:00:00:00:00:01\"",
        ));
    }
    Ok(octets)
}

/// Where the API listens.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Bad> {
    text.parse::<SocketAddr>()
        .ok()
        .filter(|socket| socket.port() > 0)
        .ok_or_else(|| {
            let remedy = "use address and port, like \"127.0.0.1:8480\" or \"[::1]:8480\"";
            Bad::new(format!("{} is not an address to listen on", quoted(text)), remedy)
        })
}

/// An absolute path.
pub(super) fn absolute_path(text: &str) -> Result<std::path::PathBuf, Bad> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text.into());
    }
    Err(Bad::new(
        format!("{} is not an absolute path", quoted(text)),
        "use a path from the root, like \"/etc/tandem/token\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_link_addresses() {
        assert!(name("cgn-1_a.b").is_ok());
        for wrong in ["", "-a", "a b", "a/b", "\u{e4}", &"x".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert!(ifname("eth0.100").is_ok());
        for wrong in ["", ".", "..", "a:b", "a/b", "a b", "sixteen-letters-"] {
            assert!(ifname(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mac("02:00:00:00:0a:FF"), Ok([2, 0, 0, 0, 10, 255]));
        for wrong in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert!(mac(wrong).is_err(), "{wrong}");
        }
        assert!(
            socket("[::1]:8480").is_ok() && socket("127.0.0.1:0").is_err() && socket("localhost:1").is_err()
        );
    }
}
