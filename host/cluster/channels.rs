//! A command in a container over a stream to a client; and the WebSocket that most clients speak for it, what Kubernetes calls
//! `v4.channel.k8s.io` and `v5.channel.k8s.io`. What older ones speak is in [`super::spdy`].
//!
//! The first byte of each message is its channel. The client sends standard input and, in version 5, its end; the server sends
//! both outputs and at last a status, and closes.

use std::any::Any;

use futures::{SinkExt as _, StreamExt as _};
use lockgate_sim::json::Value as SimValue;
use lockgate_sim::{Exec, Ran};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::sim::Simulation;
use super::sim::deliver::Break;
use crate::base::{Clock, Timestamp};

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const STATUS: u8 = 3;
/// Version 5: the channel in the next byte has ended.
const CLOSE: u8 = 255;

/// The largest piece of output in one message.
pub(super) const PIECE: usize = 32 << 10;
/// The largest message that is taken from a client.
const LARGEST: usize = 1 << 20;

/// The longest standard input that a simulated command acts on.
const LARGEST_INPUT: usize = 16 << 20;

/// Who waits for virtual time while a command runs.
pub(super) enum Hold {
    /// A participant of the run: time stands still while the stream has something to do.
    Clock(Clock),
    /// Nobody: a client outside this process waits, and others move time. The value is kept for as long as the stream lasts.
    Outside {
        /// Never looked at.
        _kept: Box<dyn Any + Send + Sync>,
    },
}

impl Hold {
    async fn reached(&self, simulation: &Simulation, at: Timestamp) {
        match self {
            // An error of the clock is told to whoever else waits; the command then ends at once.
            Hold::Clock(clock) => clock.sleep_until(at).await.unwrap_or_default(),
            Hold::Outside { .. } => simulation.reached(at).await,
        }
    }
}

/// A connection to whoever wants a command run, in whatever protocol.
pub(super) trait Line: Send {
    /// What the client sends next; `None` when it is gone. It may be given up and asked again.
    fn input(&mut self) -> impl Future<Output = Option<Input>> + Send;

    /// Sends a piece of an output, or of the status; `None` when the client is gone.
    fn send(&mut self, channel: u8, data: &[u8]) -> impl Future<Output = Option<()>> + Send;

    /// How the status of a command is told.
    fn last_word(&self, status: &SimValue) -> Vec<u8> {
        status.to_string().into_bytes()
    }

    /// Ends the stream when all is said, and waits until the client has read it.
    fn finish(&mut self) -> impl Future<Output = Option<()>> + Send;
}

/// Carries a command from its start to its status. Ends early, with `None`, when the client goes away, or where a fault rule wants it.
pub(super) async fn carry<L: Line>(line: L, exec: &Exec, simulation: &Simulation, hold: Hold, ends: Option<Break>) -> Option<()> {
    let mut stream = Stream { line, left: ends.map(|ends| ends.after), is_cut: false };
    let played = play(&mut stream, exec, simulation, hold).await;
    if stream.is_cut && ends.is_some_and(|ends| ends.silent) {
        while stream.line.input().await.is_some() {}
    }
    played
}

/// A stream to a client, and what of it goes through.
struct Stream<L> {
    line: L,
    /// How many bytes more; all when `None`.
    left: Option<usize>,
    is_cut: bool,
}

async fn play<L: Line>(stream: &mut Stream<L>, exec: &Exec, simulation: &Simulation, hold: Hold) -> Option<()> {
    if let Ok(ran) = &exec.outcome {
        let echoes = ran.echo && exec.stdin;
        // What reads no standard input finds that it is at its end.
        let reads = ran.reads.is_some() && exec.stdin;
        let mut given = Vec::new();
        if echoes {
            outputs(stream, exec).await?;
        }
        let mut input_ended = !echoes && !reads;
        let mut time = std::pin::pin!(hold.reached(simulation, ran.ends_at));
        let mut time_is_over = false;
        while !(time_is_over && input_ended) {
            tokio::select! {
                biased;
                () = &mut time, if !time_is_over => time_is_over = true,
                input = stream.line.input() => match input? {
                    Input::Data(data) if echoes => send(stream, STDOUT, &data).await?,
                    Input::Data(data) if reads && given.len() < LARGEST_INPUT => given.extend_from_slice(&data),
                    Input::Data(_) if reads => return None,
                    Input::End => input_ended = true,
                    Input::Data(_) | Input::Other => {}
                }
            }
        }
        if let Some(command) = ran.reads
            && let Err(why) = simulation.input(command, &String::from_utf8_lossy(&given))
        {
            let failed = Ran { stdout: String::new(), stderr: format!("{why}\n"), code: 1, ..ran.clone() };
            return conclude(stream, &Exec { outcome: Ok(failed), ..exec.clone() }, simulation, true).await;
        }
        return conclude(stream, exec, simulation, !echoes).await;
    }
    conclude(stream, exec, simulation, false).await
}

/// What a command says when it has ended, and how it ended.
async fn conclude<L: Line>(stream: &mut Stream<L>, exec: &Exec, simulation: &Simulation, speaks: bool) -> Option<()> {
    if speaks {
        outputs(stream, exec).await?;
    }
    simulation.tell();
    let last = stream.line.last_word(&exec.status());
    send(stream, STATUS, &last).await?;
    stream.line.finish().await
}

/// What a client sends.
pub(super) enum Input {
    /// A piece of standard input.
    Data(Vec<u8>),
    /// Standard input has ended.
    End,
    /// What matters to no command.
    Other,
}

/// A WebSocket to a client.
pub(super) struct WebSocket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The server's end of a connection whose handshake is done.
    pub(super) async fn new(io: S) -> WebSocket<S> {
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        WebSocket(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Line for WebSocket<S> {
    async fn input(&mut self) -> Option<Input> {
        Some(match self.0.next().await?.ok()? {
            Message::Close(_) => return None,
            Message::Binary(data) => match data.split_first() {
                Some((&STDIN, data)) => Input::Data(data.to_vec()),
                Some((&CLOSE, [STDIN, ..])) => Input::End,
                _ => Input::Other,
            },
            _ => Input::Other,
        })
    }

    async fn send(&mut self, channel: u8, data: &[u8]) -> Option<()> {
        self.0.send(framed(channel, data)).await.ok()
    }

    async fn finish(&mut self) -> Option<()> {
        self.0.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await.ok()?;
        // The client answers with a close of its own; until then what was sent may not have been read.
        while let Some(Ok(_)) = self.0.next().await {}
        Some(())
    }
}

async fn outputs<L: Line>(stream: &mut Stream<L>, exec: &Exec) -> Option<()> {
    let Ok(ran) = &exec.outcome else { return Some(()) };
    if exec.tty {
        // A terminal has one output, and its lines go back to the first column.
        let text = format!("{}{}", ran.stdout, ran.stderr).replace('\n', "\r\n");
        return if exec.stdout { send(stream, STDOUT, text.as_bytes()).await } else { Some(()) };
    }
    for (wanted, channel, text) in [(exec.stdout, STDOUT, &ran.stdout), (exec.stderr, STDERR, &ran.stderr)] {
        if wanted {
            send(stream, channel, text.as_bytes()).await?;
        }
    }
    Some(())
}

/// Sends in pieces; each waits until the client has room for it.
async fn send<L: Line>(stream: &mut Stream<L>, channel: u8, data: &[u8]) -> Option<()> {
    for piece in data.chunks(PIECE) {
        if let Some(left) = &mut stream.left {
            let Some(rest) = left.checked_sub(piece.len()) else {
                stream.is_cut = true;
                return None;
            };
            *left = rest;
        }
        stream.line.send(channel, piece).await?;
    }
    Some(())
}

/// What a command said, and at last its status.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The beginning of standard output.
    pub(super) stdout: Vec<u8>,
    /// The beginning of standard error.
    pub(super) stderr: Vec<u8>,
    /// Whether an output was longer.
    pub(super) truncated: bool,
    /// The status, as JSON.
    pub(super) status: Vec<u8>,
}

impl Said {
    /// Takes in a message; whether it was the last one.
    fn take(&mut self, message: &[u8], kept: usize) -> bool {
        let Some((channel, data)) = message.split_first() else { return false };
        let output = match *channel {
            STDOUT => &mut self.stdout,
            STDERR => &mut self.stderr,
            STATUS => {
                self.status.extend_from_slice(data);
                return true;
            }
            _ => return false,
        };
        let room = kept.saturating_sub(output.len()).min(data.len());
        output.extend_from_slice(data.get(..room).unwrap_or_default());
        self.truncated |= room < data.len();
        false
    }
}

/// The client's end: sends standard input, where `ends` its end too, and reads until the status, `kept` bytes of each output.
///
/// # Errors
/// What the connection says when it ends without a status.
pub(super) async fn converse<S>(socket: WebSocketStream<S>, stdin: Option<&str>, ends: bool, kept: usize) -> Result<Said, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let mut said = Said::default();
    let lost = "the stream ended without a status of the command";
    let result = {
        let input = async {
            for piece in stdin.unwrap_or_default().as_bytes().chunks(PIECE) {
                sink.send(framed(STDIN, piece)).await?;
            }
            if stdin.is_some() && ends {
                sink.send(framed(CLOSE, &[STDIN])).await?;
            }
            Ok::<(), WsError>(())
        };
        let output = async {
            loop {
                match stream.next().await {
                    Some(Ok(Message::Binary(data))) if said.take(&data, kept) => return Ok(()),
                    Some(Ok(Message::Close(_))) | None => return Err(lost.to_owned()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(format!("{lost}: {error}")),
                }
            }
        };
        tokio::pin!(output);
        tokio::select! {
            // A command that ends before it has read its input takes the rest of it along, and is not at fault.
            ended = &mut output => ended,
            // What went wrong while sending is told by what is read.
            _ = input => output.await,
        }
    };
    if result.is_ok() {
        // The last word is here; whether the farewell arrives changes nothing.
        sink.send(Message::Close(None)).await.ok();
    }
    result.map(|()| said)
}

fn framed(channel: u8, data: &[u8]) -> Message {
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    Message::Binary(message.into())
}
