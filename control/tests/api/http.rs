//! Requests: by a client for whole answers, by hand for what no client sends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::daemon::Daemon;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.expect("an answer");
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let status = response.status().as_u16();
    Answer {
        status,
        kind,
        text: response.body_mut().read_to_string().expect("a body of text"),
    }
}

pub fn get(daemon: &Daemon, path: &str) -> Answer {
    answer(agent().get(format!("{}{path}", daemon.url())).call())
}

/// The JSON of an answer that must be 200.
pub fn get_json(daemon: &Daemon, path: &str) -> Value {
    let answer = get(daemon, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert_eq!(answer.kind, "application/json", "{path}");
    answer.json()
}

pub fn get_with(daemon: &Daemon, path: &str, header: &str, value: &str) -> Answer {
    answer(
        agent()
            .get(format!("{}{path}", daemon.url()))
            .header(header, value)
            .call(),
    )
}

pub fn delete(daemon: &Daemon, path: &str) -> Answer {
    answer(agent().delete(format!("{}{path}", daemon.url())).call())
}

pub fn post(daemon: &Daemon, path: &str, body: &[u8]) -> Answer {
    answer(agent().post(format!("{}{path}", daemon.url())).send(body))
}

/// Sends `request` as it is and reads until the server closes; an error when the server reset the connection.
pub fn try_raw(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The same where it must work.
pub fn raw(address: SocketAddr, request: &str) -> String {
    try_raw(address, request).expect("an answer of text")
}

/// A file that is removed when dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tandem-api-test-{}-{name}", std::process::id()));
        let mut file = std::fs::File::create(&path).expect("a scratch file");
        file.write_all(text.as_bytes()).expect("room for it");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies in the temporary folder: a failure to remove it harms nobody.
        let _removed = std::fs::remove_file(&self.0);
    }
}
