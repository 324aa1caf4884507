use lockgate_sim::{Cluster, Exec, Options, Ran};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::cluster::channels::{Hold, carry};
use crate::cluster::sim::Simulation;

/// A command that echoes its input or says what is given, and ends with this code.
fn exec(stdin: bool, stdout: &str, code: u8) -> Exec {
    let simulated = Cluster::new(Options::default());
    let ran = Ran { stdout: stdout.to_owned(), stderr: "warned".to_owned(), code, ends_at: simulated.now(), echo: stdin, reads: None };
    Exec { command: vec!["x".to_owned()], stdin, stdout: true, stderr: true, tty: false, outcome: Ok(ran) }
}

/// A frame that begins a stream, its headers stored and not compressed.
fn begin(stream: u32, kind: &str, is_first: bool) -> Vec<u8> {
    let mut text = 1_u32.to_be_bytes().to_vec();
    for word in ["streamtype", kind] {
        text.extend(u32::try_from(word.len()).unwrap().to_be_bytes());
        text.extend(word.as_bytes());
    }
    let mut body = stream.to_be_bytes().to_vec();
    body.extend([0; 6]);
    body.extend(if is_first { &[0x78, 0x01, 0][..] } else { &[0][..] });
    let length = u16::try_from(text.len()).unwrap();
    body.extend(length.to_le_bytes());
    body.extend((!length).to_le_bytes());
    body.extend(text);
    let mut frame = vec![0x80, 3, 0, 1, 0];
    frame.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    frame.extend(body);
    frame
}

/// What a client was sent by its streams, and which of them have ended, until the connection is over.
async fn answers(client: &mut DuplexStream, until: usize) -> (Vec<(u32, String)>, Vec<u32>, Vec<Frame>) {
    let (mut received, mut inflater) = (BytesMut::new(), Inflater::new());
    let (mut texts, mut ended, mut others) = (std::collections::BTreeMap::<u32, Vec<u8>>::new(), Vec::new(), Vec::new());
    while ended.len() < until {
        match Frame::take(&mut received, &mut inflater).unwrap() {
            Some(Frame::Data { stream, data, ends }) => {
                texts.entry(stream).or_default().extend(data);
                if ends {
                    ended.push(stream);
                }
            }
            Some(other) => others.push(other),
            None if client.read_buf(&mut received).await.unwrap() == 0 => break,
            None => {}
        }
    }
    (texts.into_iter().map(|(stream, text)| (stream, String::from_utf8(text).unwrap())).collect(), ended, others)
}

/// Runs a command for a client that sends this, and then goes away once so many streams have ended.
async fn run(exec: Exec, protocol: &str, sent: Vec<u8>, until: usize) -> (Vec<(u32, String)>, Vec<u32>, Vec<Frame>) {
    let (near, mut client) = duplex(1 << 20);
    let simulation = Simulation::new(Cluster::new(Options::default()));
    let server = async {
        let line = Spdy::open(near, &exec, protocol).await?;
        carry(line, &exec, &simulation, Hold::Outside { _kept: Box::new(()) }, None).await
    };
    let client = async move {
        client.write_all(&sent).await.unwrap();
        answers(&mut client, until).await
    };
    tokio::join!(server, client).1
}

const V4: &str = PROTOCOLS[0];

fn streams(stdin: bool) -> Vec<u8> {
    let kinds: &[&str] = if stdin { &["error", "stdin", "stdout", "stderr"] } else { &["error", "stdout", "stderr"] };
    kinds.iter().zip([1, 3, 5, 7]).flat_map(|(kind, stream)| begin(stream, kind, stream == 1)).collect()
}

#[tokio::test]
async fn outputs_and_the_exit_code_go_over_streams_of_their_own() {
    let (texts, ended, others) = run(exec(false, "said", 3), V4, streams(false), 3).await;
    let [(1, status), (3, out), (5, err)] = &texts[..] else { panic!("{texts:?}") };
    assert_eq!((out.as_str(), err.as_str()), ("said", "warned"));
    assert!(status.contains(r#""reason":"NonZeroExitCode""#) && status.contains(r#""message":"3""#), "{status}");
    assert_eq!(ended, [3, 5, 1], "the outputs end before the word about the end");
    assert_eq!(others, vec![Frame::Other; 3], "an answer to each stream");
}

#[tokio::test]
async fn input_is_echoed_until_it_ends() {
    let mut sent = streams(true);
    let large = "x".repeat(100_000);
    sent.extend(frame::data(3, large.as_bytes(), false));
    sent.extend(frame::ping(1));
    sent.extend(frame::ping(2));
    sent.extend(frame::data(3, b"end", true));
    let (texts, ended, others) = run(exec(true, "", 0), V4, sent, 4).await;
    assert_eq!(texts.iter().find(|(stream, _)| *stream == 5).unwrap().1, format!("{large}end"));
    assert_eq!(texts[0], (1, r#"{"metadata":{},"status":"Success"}"#.to_owned()));
    assert_eq!(ended.len(), 4);
    let pings: Vec<&Frame> = others.iter().filter(|frame| matches!(frame, Frame::Ping { .. })).collect();
    assert_eq!(pings, [&Frame::Ping { id: 1 }], "the client's is sent back, one that looks like the server's is not");
}

#[tokio::test]
async fn older_versions_tell_in_words() {
    let (texts, ..) = run(exec(false, "said", 3), PROTOCOLS[1], streams(false), 3).await;
    assert!(texts[0].1.starts_with("command terminated with non-zero exit code"), "{texts:?}");
    let (texts, ..) = run(exec(false, "said", 0), PROTOCOLS[3], streams(false), 3).await;
    assert_eq!(texts[0], (1, String::new()));
}

#[tokio::test]
async fn streams_that_nobody_wants_are_reset() {
    let mut sent = begin(1, "error", true);
    for (stream, kind) in [(3, "nonsense"), (2, "stdout"), (5, "error"), (3, "stderr"), (7, "stdout"), (9, "stderr")] {
        sent.extend(begin(stream, kind, false));
    }
    let (texts, ended, others) = run(exec(false, "said", 0), V4, sent, 3).await;
    assert_eq!((texts[1].clone(), ended), ((7, "said".to_owned()), vec![7, 9, 1]));
    let reset: Vec<&Frame> = others.iter().filter(|frame| **frame != Frame::Other).collect();
    assert_eq!(reset, [3, 2, 5, 3].map(|stream| Frame::Reset { stream }).iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_garbles_or_goes_away_ends_it() {
    for sent in [vec![0xff; 64], Vec::new(), begin(1, "error", true), [streams(true), vec![0x80, 9, 0, 0, 0, 0, 0, 0]].concat()] {
        let (near, mut client) = duplex(1 << 20);
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let (exec, simulation) = (exec(true, "", 0), Simulation::new(Cluster::new(Options::default())));
        let Some(line) = Spdy::open(near, &exec, V4).await else { continue };
        assert_eq!(carry(line, &exec, &simulation, Hold::Outside { _kept: Box::new(()) }, None).await, None);
    }
}
