//! A command in a container over SPDY/3.1, as kubectl of before 1.31 speaks when nobody tells it otherwise: `v4.channel.k8s.io` and
//! the older versions, which tell no exit code. Each output is a stream of its own that the client begins.

mod frame;
mod headers;

use bytes::{Buf as _, BytesMut};
use lockgate_sim::Exec;
use lockgate_sim::json::Value as SimValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use self::frame::Frame;
use self::headers::{Deflater, Inflater};
use super::channels::{Input, Line, PIECE, STATUS, STDERR, STDIN, STDOUT};
use crate::base::Clock;
use crate::base::clock::{Duration, later};

/// What a client asks for when it means this protocol.
pub(super) const UPGRADE: &str = "SPDY/3.1";
/// The versions of the stream protocol, best first; the last three tell in plain words what went wrong.
pub(super) const PROTOCOLS: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// How long a client may take to begin its streams, and to go at the end, as a kubelet has it.
const PATIENCE: Duration = Duration::from_secs(30);
/// More streams than this nobody needs.
const MOST: usize = 16;

/// Why a stream is reset: it was begun wrongly, or nobody wants it.
const WRONG: u32 = 1;
const UNWANTED: u32 = 5;

/// A connection to a client.
pub(super) struct Spdy<S> {
    io: S,
    received: BytesMut,
    /// What is on its way to the client.
    pending: BytesMut,
    inflater: Inflater,
    deflater: Deflater,
    /// The streams that were begun, by what they are for.
    streams: Vec<(u32, String)>,
    /// The last stream that the client began.
    last: u32,
    /// Standard input has ended with what was read last.
    input_ends: bool,
    /// Whether the status is one of version 4.
    tells_codes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Spdy<S> {
    /// Waits for the streams that a client begins for its command; `None` when it does not.
    pub(super) async fn open(io: S, exec: &Exec, protocol: &str) -> Option<Spdy<S>> {
        let mut line = Spdy {
            io,
            received: BytesMut::new(),
            pending: BytesMut::new(),
            inflater: Inflater::new(),
            deflater: Deflater::new(),
            streams: Vec::new(),
            last: 0,
            input_ends: false,
            tells_codes: protocol == PROTOCOLS[0],
        };
        let wanted = [(true, STATUS), (exec.stdin, STDIN), (exec.stdout, STDOUT), (exec.stderr, STDERR)];
        let world = Clock::real();
        let begun = async {
            while wanted.iter().any(|(wanted, channel)| *wanted && line.stream(*channel).is_none()) {
                if let Frame::Open { stream, kind, ends } = line.frame().await? {
                    line.begin(stream, kind, ends);
                    line.flush().await?;
                }
            }
            Some(())
        };
        tokio::select! {
            begun = begun => begun?,
            _ = world.sleep_until(later(world.now(), PATIENCE)) => return None,
        }
        Some(line)
    }

    fn stream(&self, channel: u8) -> Option<u32> {
        let kind = kind(channel);
        self.streams.iter().find(|(_, known)| known == kind).map(|(stream, _)| *stream)
    }

    /// Takes a stream that the client begins, or does not.
    fn begin(&mut self, stream: u32, kind: String, ends: bool) {
        // A client counts 1, 3, 5.
        if stream.is_multiple_of(2) || stream <= self.last {
            return self.pending.extend(frame::reset(stream, WRONG));
        }
        self.last = stream;
        let is_known = matches!(kind.as_str(), "error" | "stdin" | "stdout" | "stderr" | "resize");
        if !is_known || self.streams.len() >= MOST || self.streams.iter().any(|(_, known)| *known == kind) {
            return self.pending.extend(frame::reset(stream, UNWANTED));
        }
        self.input_ends |= ends && kind == "stdin";
        self.streams.push((stream, kind));
        let headers = self.deflater.none();
        self.pending.extend(frame::reply(stream, &headers));
    }

    /// The next frame that is not only between the two ends of the connection; `None` when the client is gone or garbles.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            self.flush().await?;
            match Frame::take(&mut self.received, &mut self.inflater) {
                // Only those of the client are to be sent back, which are odd.
                Ok(Some(Frame::Ping { id })) if id % 2 == 1 => self.pending.extend(frame::ping(id)),
                Ok(Some(Frame::GoAway)) => return None,
                Ok(Some(frame)) => return Some(frame),
                // A read that is given up has read nothing.
                Ok(None) => {
                    self.received.reserve(PIECE);
                    if self.io.read_buf(&mut self.received).await.ok()? == 0 {
                        return None;
                    }
                }
                Err(frame::Garbled) => {
                    self.pending.extend(frame::go_away(self.last));
                    self.flush().await?;
                    return None;
                }
            }
        }
    }

    /// Sends what is pending. What is left when it is given up is sent next time.
    async fn flush(&mut self) -> Option<()> {
        while self.pending.has_remaining() {
            if self.io.write_buf(&mut self.pending).await.ok()? == 0 {
                return None;
            }
        }
        self.io.flush().await.ok()
    }
}

/// What the client calls a channel.
fn kind(channel: u8) -> &'static str {
    match channel {
        STDIN => "stdin",
        STDOUT => "stdout",
        STDERR => "stderr",
        _ => "error",
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Line for Spdy<S> {
    async fn input(&mut self) -> Option<Input> {
        if std::mem::take(&mut self.input_ends) {
            return Some(Input::End);
        }
        let stdin = self.stream(STDIN);
        Some(match self.frame().await? {
            Frame::Data { stream, data, ends } if Some(stream) == stdin => {
                self.input_ends = ends;
                Input::Data(data)
            }
            Frame::Reset { stream } if Some(stream) == stdin => Input::End,
            // Whoever gives up the word about the end waits for nothing more.
            Frame::Reset { stream } if Some(stream) == self.stream(STATUS) => return None,
            Frame::Open { stream, kind, ends } => {
                self.begin(stream, kind, ends);
                Input::Other
            }
            _ => Input::Other,
        })
    }

    async fn send(&mut self, channel: u8, data: &[u8]) -> Option<()> {
        let stream = self.stream(channel)?;
        self.pending.extend(frame::data(stream, data, false));
        self.flush().await
    }

    fn last_word(&self, status: &SimValue) -> Vec<u8> {
        match status["status"].as_str() {
            _ if self.tells_codes => status.to_string().into_bytes(),
            Some("Success") => Vec::new(),
            _ => status["message"].as_str().unwrap_or_default().as_bytes().to_vec(),
        }
    }

    async fn finish(&mut self) -> Option<()> {
        // The outputs end first: a client reads them to their end, and then what became of the command.
        for channel in [STDOUT, STDERR, STDIN, STATUS] {
            if let Some(stream) = self.stream(channel) {
                self.pending.extend(frame::data(stream, &[], true));
            }
        }
        self.flush().await?;
        let world = Clock::real();
        let gone = async { while self.frame().await.is_some() {} };
        tokio::select! {
            () = gone => {}
            _ = world.sleep_until(later(world.now(), PATIENCE)) => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
