//! Test support: a Lambda runtime on nothing but the standard library, so that it compiles in a second.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// An event as the Runtime API hands it out.
pub struct Event {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub request_id: String,
    /// `Lambda-Runtime-Deadline-Ms`.
    pub deadline_ms: u64,
    /// The payload.
    pub body: String,
}

/// Asks for the next event; blocks until there is one.
pub fn next() -> Event {
    let (_, headers, body) = call("GET", "/2018-06-01/runtime/invocation/next", "");
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("/next sent no {name}"))
    };
    Event {
        request_id: header("lambda-runtime-aws-request-id"),
        deadline_ms: header("lambda-runtime-deadline-ms").parse().unwrap(),
        body,
    }
}

/// Answers an event with `what`, which is `response` or `error`; returns the status of the call.
pub fn answer(request_id: &str, what: &str, body: &str) -> u16 {
    call("POST", &format!("/2018-06-01/runtime/invocation/{request_id}/{what}"), body).0
}

/// One request on a connection of its own.
pub fn call(method: &str, path: &str, body: &str) -> (u16, Vec<(String, String)>, String) {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let mut stream = TcpStream::connect(&api).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let mut body = String::new();
    reader.read_to_string(&mut body).unwrap();
    (status.split(' ').nth(1).unwrap().parse().unwrap(), headers, body)
}
