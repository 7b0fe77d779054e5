//! A tap on a client's TCP stream that keeps the request heads as they were sent.
//!
//! API Gateway hands header names to functions in the client's own spelling; hyper lower-cases them. So the tap
//! parses the same bytes beside hyper and keeps each head until the request that it belongs to is served.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hyper refuses a head with more headers or bytes than these, so nothing longer is ever asked for.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 512 * 1024;

/// The headers of one request: names as sent, in the order they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawHead {
    /// The request target, to tell that the head belongs to a request.
    pub(super) target: String,
    /// Names and values.
    pub(super) headers: Vec<(String, String)>,
}

/// The heads of one TCP connection that were read but not served yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<Mutex<VecDeque<RawHead>>>);

impl Heads {
    /// Takes the oldest head. Hyper serves the requests of a connection in order, one call for each head.
    pub(super) fn next(&self) -> Option<RawHead> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, head: RawHead) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(head);
    }
}

/// A byte stream whose request heads are recorded.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    recorder: Recorder,
}

impl<S> Tap<S> {
    /// Taps `stream`; what is recorded comes out of the second half.
    pub(super) fn new(stream: S) -> (Self, Heads) {
        let heads = Heads::default();
        (Self { stream, recorder: Recorder { state: State::Head(Vec::new()), heads: heads.clone() } }, heads)
    }
}

#[derive(Debug)]
struct Recorder {
    state: State,
    heads: Heads,
}

#[derive(Debug)]
enum State {
    /// Within a head; what there is of it.
    Head(Vec<u8>),
    /// Within a body; how much of it is to come.
    Body(u64),
    /// Not HTTP any more, or chunked, whose end only hyper knows. Names then come from hyper, in lower case.
    Off,
}

impl Recorder {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Off => return,
                State::Body(left) => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= skipped as u64;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                }
                State::Head(buffer) => {
                    let before = buffer.len();
                    buffer.extend_from_slice(bytes);
                    match parse(buffer) {
                        Parsed::Partial if buffer.len() < MAX_HEAD => return,
                        Parsed::Partial | Parsed::Invalid => self.state = State::Off,
                        Parsed::Complete { length, head, body } => {
                            bytes = bytes.get(length.saturating_sub(before)..).unwrap_or_default();
                            self.heads.push(head);
                            self.state = match body {
                                Some(0) => State::Head(Vec::new()),
                                Some(length) => State::Body(length),
                                None => State::Off,
                            };
                        }
                    }
                }
            }
        }
    }
}

enum Parsed {
    Partial,
    Invalid,
    /// `body` is its length, unless it is chunked.
    Complete {
        length: usize,
        head: RawHead,
        body: Option<u64>,
    },
}

fn parse(buffer: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Invalid,
    };
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let value = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v);
    let body = match (value("transfer-encoding"), value("content-length")) {
        (Some(_), _) => None,
        (None, Some(length)) => length.trim().parse().ok(),
        (None, None) => Some(0),
    };
    Parsed::Complete { length, head: RawHead { target: request.path.unwrap_or_default().to_owned(), headers }, body }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.recorder.see(&buf.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(chunks: &[&[u8]]) -> Vec<RawHead> {
        let (mut tap, heads) = Tap::new(());
        for chunk in chunks {
            tap.recorder.see(chunk);
        }
        std::iter::from_fn(|| heads.next()).collect()
    }

    fn head(target: &str, headers: &[(&str, &str)]) -> RawHead {
        RawHead {
            target: target.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    const THREE: &[u8] = b"GET /dev?a=1 HTTP/1.1\r\nHost: x\r\nX-Own-CASE: Yes\r\n\r\n\
        POST /p HTTP/1.1\r\ncontent-Length: 5\r\n\r\nGET /GET /last HTTP/1.1\r\nx-b: 2\r\nx-b: 3\r\n\r\n";

    #[test]
    fn names_keep_their_case_and_order_and_bodies_are_skipped() {
        let expected = [
            head("/dev?a=1", &[("Host", "x"), ("X-Own-CASE", "Yes")]),
            head("/p", &[("content-Length", "5")]),
            head("/last", &[("x-b", "2"), ("x-b", "3")]),
        ];
        assert_eq!(recorded(&[THREE]), expected);
        let bytes: Vec<_> = THREE.chunks(1).collect();
        assert_eq!(recorded(&bytes), expected);
        for split in 1..THREE.len() {
            assert_eq!(recorded(&[&THREE[..split], &THREE[split..]]), expected, "split at {split}");
        }
    }

    #[test]
    fn recording_stops_at_frames_garbage_and_chunked_bodies() {
        let upgrade = b"GET /dev HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let frames = [0x81, 0x85, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(recorded(&[upgrade, &frames, b"GET / HTTP/1.1\r\n\r\n"]).len(), 1);
        assert!(recorded(&[b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"]).is_empty());
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(recorded(&[chunked, b"GET / HTTP/1.1\r\n\r\n"]).len(), 1);
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let (mut tap, heads) = Tap::new(());
        tap.recorder.see(b"GET / HTTP/1.1\r\nx: ");
        for _ in 0..=(MAX_HEAD / 65_536) {
            tap.recorder.see(&[b'a'; 65_536]);
        }
        assert!(matches!(tap.recorder.state, State::Off));
        assert_eq!(heads.next(), None);
    }
}
