//! A command in a container over a WebSocket: what Kubernetes calls `v4.channel.k8s.io` and `v5.channel.k8s.io`.
//!
//! The first byte of each message is its channel. The client sends standard input and, in version 5, its end; the server sends
//! both outputs and at last a status, and closes.

use std::any::Any;

use futures::{SinkExt as _, StreamExt as _};
use lockgate_sim::Exec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Result as WsResult};

use super::sim::Simulation;
use crate::base::{Clock, Timestamp};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Version 5: the channel in the next byte has ended.
const CLOSE: u8 = 255;

/// The largest piece of output in one message.
const PIECE: usize = 32 << 10;
/// The largest message that is taken from a client.
const LARGEST: usize = 1 << 20;

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

/// Carries a command from its start to its status. Ends early when the client goes away.
pub(super) async fn carry<S>(io: S, exec: &Exec, simulation: &Simulation, hold: Hold) -> WsResult<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    if let Ok(ran) = &exec.outcome {
        let echoes = ran.echo && exec.stdin;
        if echoes {
            outputs(&mut socket, exec).await?;
        }
        let mut input_ended = !echoes;
        let mut time = std::pin::pin!(hold.reached(simulation, ran.ends_at));
        let mut time_is_over = false;
        while !(time_is_over && input_ended) {
            tokio::select! {
                biased;
                () = &mut time, if !time_is_over => time_is_over = true,
                message = socket.next() => match input(message)? {
                    Input::Data(data) if echoes => send(&mut socket, STDOUT, &data).await?,
                    Input::End => input_ended = true,
                    Input::Data(_) | Input::Other => {}
                }
            }
        }
        if !echoes {
            outputs(&mut socket, exec).await?;
        }
    }
    simulation.tell();
    send(&mut socket, STATUS, exec.status().to_string().as_bytes()).await?;
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
    // The client answers with a close of its own; until then what was sent may not have been read.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

/// What a client sends.
enum Input {
    Data(Vec<u8>),
    End,
    Other,
}

fn input(message: Option<WsResult<Message>>) -> WsResult<Input> {
    let message = message.unwrap_or(Err(WsError::ConnectionClosed))?;
    Ok(match &message {
        Message::Close(_) => return Err(WsError::ConnectionClosed),
        Message::Binary(data) => match data.split_first() {
            Some((&STDIN, data)) => Input::Data(data.to_vec()),
            Some((&CLOSE, [STDIN, ..])) => Input::End,
            _ => Input::Other,
        },
        _ => Input::Other,
    })
}

async fn outputs<S>(socket: &mut WebSocketStream<S>, exec: &Exec) -> WsResult<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(ran) = &exec.outcome else { return Ok(()) };
    if exec.tty {
        // A terminal has one output, and its lines go back to the first column.
        let text = format!("{}{}", ran.stdout, ran.stderr).replace('\n', "\r\n");
        return if exec.stdout { send(socket, STDOUT, text.as_bytes()).await } else { Ok(()) };
    }
    for (wanted, channel, text) in [(exec.stdout, STDOUT, &ran.stdout), (exec.stderr, STDERR, &ran.stderr)] {
        if wanted {
            send(socket, channel, text.as_bytes()).await?;
        }
    }
    Ok(())
}

/// Sends in pieces; each waits until the client has room for it.
async fn send<S>(socket: &mut WebSocketStream<S>, channel: u8, data: &[u8]) -> WsResult<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for piece in data.chunks(PIECE) {
        let mut message = Vec::with_capacity(piece.len() + 1);
        message.push(channel);
        message.extend_from_slice(piece);
        socket.send(Message::Binary(message.into())).await?;
    }
    Ok(())
}
