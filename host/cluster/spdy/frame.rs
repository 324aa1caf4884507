//! Frames of SPDY/3: what a client of `exec` sends, and what it is sent.

use bytes::{Buf as _, BytesMut};

use super::headers::Inflater;

/// The most that a frame may carry, in bytes.
const LARGEST: usize = 1 << 20;
/// The most that a frame of control may be, in bytes.
const LARGEST_CONTROL: usize = 64 << 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// The sender says nothing more on this stream.
const FIN: u8 = 1;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A stream begins; `kind` is the value of its header `streamtype`.
    Open { stream: u32, kind: String, ends: bool },
    /// A piece of a stream.
    Data { stream: u32, data: Vec<u8>, ends: bool },
    /// A stream is given up.
    Reset { stream: u32 },
    /// To be sent back.
    Ping { id: u32 },
    /// Nothing more comes.
    GoAway,
    /// What matters to nobody here: settings, windows, answers to what was never asked.
    Other,
}

/// Bytes that are no frame: nothing after them can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

impl Frame {
    /// Takes the first frame off what was received; nothing is taken while it is not all there.
    pub(super) fn take(received: &mut BytesMut, inflater: &mut Inflater) -> Result<Option<Frame>, Garbled> {
        let Some((head, _)) = received.split_first_chunk::<8>() else { return Ok(None) };
        let [a, b, c, d, flags, size @ ..] = *head;
        let [x, y, z] = size;
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        let is_control = a & 0x80 != 0;
        if length > if is_control { LARGEST_CONTROL } else { LARGEST } {
            return Err(Garbled);
        }
        if received.len() < 8 + length {
            return Ok(None);
        }
        received.advance(8);
        let body = received.split_to(length);
        if !is_control {
            return match u32::from_be_bytes([a, b, c, d]) {
                0 => Err(Garbled),
                stream => Ok(Some(Frame::Data { stream, data: body.to_vec(), ends: flags & FIN != 0 })),
            };
        }
        if u16::from_be_bytes([a & 0x7f, b]) != 3 {
            return Err(Garbled);
        }
        control(u16::from_be_bytes([c, d]), flags, &body, inflater).map(Some).ok_or(Garbled)
    }
}

fn control(kind: u16, flags: u8, body: &[u8], inflater: &mut Inflater) -> Option<Frame> {
    Some(match kind {
        SYN_STREAM => {
            let stream = id(body)?;
            let headers = inflater.headers(body.get(10..)?)?;
            let kind = headers.into_iter().find(|(name, _)| name == "streamtype").map(|(_, value)| value).unwrap_or_default();
            Frame::Open { stream, kind, ends: flags & FIN != 0 }
        }
        // Whatever they say, what comes after them is compressed with it.
        SYN_REPLY | HEADERS => inflater.headers(body.get(4..)?).map(|_| Frame::Other)?,
        RST_STREAM => Frame::Reset { stream: id(body)? },
        PING => Frame::Ping { id: u32::from_be_bytes(*body.first_chunk()?) },
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

/// The number of a stream, which is never 0.
fn id(body: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*body.first_chunk()?) & 0x7fff_ffff).filter(|id| *id != 0)
}

/// A piece of a stream, which may be its last.
pub(super) fn data(stream: u32, data: &[u8], ends: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend(sized(if ends { FIN } else { 0 }, data.len()));
    frame.extend_from_slice(data);
    frame
}

/// A stream is taken; `headers` are compressed.
pub(super) fn reply(stream: u32, headers: &[u8]) -> Vec<u8> {
    of(SYN_REPLY, &[&stream.to_be_bytes(), headers])
}

/// A stream is refused, or over before its end.
pub(super) fn reset(stream: u32, why: u32) -> Vec<u8> {
    of(RST_STREAM, &[&stream.to_be_bytes(), &why.to_be_bytes()])
}

/// The answer to a ping.
pub(super) fn ping(id: u32) -> Vec<u8> {
    of(PING, &[&id.to_be_bytes()])
}

/// Nothing more will be read, because of what was sent.
pub(super) fn go_away(last: u32) -> Vec<u8> {
    of(GOAWAY, &[&last.to_be_bytes(), &1_u32.to_be_bytes()])
}

fn of(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut frame = 0x8003_u16.to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.extend(sized(0, parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

fn sized(flags: u8, length: usize) -> [u8; 4] {
    // What is sent is cut into pieces that are far smaller than 16 MiB.
    let [_, x, y, z] = u32::try_from(length).unwrap_or_default().to_be_bytes();
    [flags, x, y, z]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the library that kubectl uses writes: three streams, a ping, a last piece, a reset, a farewell.
    const RECORDED: &str = "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff\
        800300010000001700000003000000000000c22e555c92929907000000ffff800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff\
        800300060000000400000001000000030100000568656c6c6f8003000300000008000000050000000580030007000000080000000000000000";

    fn recorded() -> Vec<u8> {
        let digits: Vec<u32> = RECORDED.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    /// All frames in these bytes, which come in pieces of this size; and whether what follows is garbled.
    fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, bool) {
        let (mut received, mut inflater, mut frames) = (BytesMut::new(), Inflater::new(), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            received.extend_from_slice(piece);
            loop {
                match Frame::take(&mut received, &mut inflater) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(Garbled) => return (frames, true),
                }
            }
        }
        (frames, false)
    }

    #[test]
    fn frames_of_a_real_client_are_read() {
        let open = |stream, kind: &str| Frame::Open { stream, kind: kind.to_owned(), ends: false };
        let expected = vec![
            open(1, "error"),
            open(3, "stdin"),
            open(5, "stdout"),
            Frame::Ping { id: 1 },
            Frame::Data { stream: 3, data: b"hello".to_vec(), ends: true },
            Frame::Reset { stream: 5 },
            Frame::GoAway,
        ];
        for piece in [1, 7, 1000] {
            assert_eq!(frames(&recorded(), piece), (expected.clone(), false));
        }
    }

    #[test]
    fn what_is_written_is_what_a_client_reads() {
        let mut sent = data(1, b"abc", true);
        sent.extend(data(3, b"", false));
        sent.extend(reset(5, 5));
        sent.extend(ping(7));
        sent.extend(go_away(5));
        let (read, garbled) = frames(&sent, 3);
        let piece = |stream, data: &[u8], ends| Frame::Data { stream, data: data.to_vec(), ends };
        assert_eq!(read, [piece(1, b"abc", true), piece(3, b"", false), Frame::Reset { stream: 5 }, Frame::Ping { id: 7 }, Frame::GoAway]);
        assert!(!garbled);
    }

    #[test]
    fn frames_that_are_too_large_are_not_waited_for() {
        assert_eq!(frames(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff], 8), (Vec::new(), true));
        assert_eq!(frames(&[0x80, 3, 0, 4, 0, 2, 0, 0], 8), (Vec::new(), true));
        assert_eq!(frames(&[0x80, 2, 0, 4, 0, 0, 0, 0], 8), (Vec::new(), true), "another version");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused_and_in_pieces_as_in_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            kinds in proptest::collection::vec((0_u16..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
            piece in 1_usize..50,
            cut in 0_usize..200,
        ) {
            // Frames whose heads are right, then noise; and a recording that breaks off into noise.
            let mut sent = Vec::new();
            for (kind, flags, body) in kinds {
                sent.extend([0x80, 3]);
                sent.extend(kind.to_be_bytes());
                sent.extend(sized(flags, body.len()));
                sent.extend(body);
            }
            sent.extend(&bytes);
            let mut broken = recorded();
            broken.truncate(cut);
            broken.extend(&bytes);
            for sent in [sent, broken, bytes] {
                prop_assert_eq!(frames(&sent, piece), frames(&sent, usize::MAX));
            }
        }
    }
}
