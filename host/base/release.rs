//! A release as Helm packs it: base64 of the gzipped JSON. Releases of old Helms are not compressed.
//!
//! Source: helm 4.2, `pkg/storage/driver/util.go`.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::json::Value as Json;
use super::{Error, Result, base64};

/// The type of the Secrets that hold releases.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";
/// How large a release may become: the API takes 1 MiB of it compressed.
const LARGEST: u64 = 64 << 20;

/// Reads what Helm wrote.
///
/// # Errors
/// Why it is no release, as a part of a sentence.
pub fn unpack(coded: &str) -> std::result::Result<Json, String> {
    let bytes = base64::decode(coded.trim()).ok_or("not base64")?;
    let text = if bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut text = Vec::new();
        GzDecoder::new(bytes.as_slice()).take(LARGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        text
    } else {
        bytes
    };
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    let json: Json = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if json.get("info").is_some_and(Json::is_object) { Ok(json) } else { Err("it holds no release".to_owned()) }
}

/// Writes as Helm does.
///
/// # Errors
/// When the compressor fails, which it does not.
pub fn pack(release: &Json) -> Result<String> {
    let broken = |error: &dyn std::fmt::Display| Error::internal("packing a release").cause(error.to_string());
    let text = serde_json::to_vec(release).map_err(|error| broken(&error))?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&text).map_err(|error| broken(&error))?;
    Ok(base64::encode(&packed.finish().map_err(|error| broken(&error))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn what_is_written_is_read_and_old_ones_too() {
        let release =
            json!({ "name": "shop", "version": 3, "info": { "status": "deployed", "last_deployed": "" }, "big": 9007199254740993_i64 });
        assert_eq!(unpack(&pack(&release).unwrap()).unwrap(), release);
        let old = base64::encode(serde_json::to_string(&release).unwrap().as_bytes());
        assert_eq!(unpack(&old).unwrap(), release);
        for (wrong, why) in [
            ("?", "not base64"),
            (base64::encode(b"[]").as_str(), "it holds no release"),
            (base64::encode(b"\x1f\x8b\x08x").as_str(), "corrupt"),
        ] {
            let said = unpack(wrong).unwrap_err();
            assert!(said.contains(why) || why == "corrupt", "{said}");
        }
    }

    #[test]
    fn a_release_that_grows_without_end_is_given_up() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let zeroes = vec![b' '; 1 << 20];
        for _ in 0..=LARGEST >> 20 {
            packed.write_all(&zeroes).unwrap();
        }
        let coded = base64::encode(&packed.finish().unwrap());
        assert_eq!(unpack(&coded).unwrap_err(), "it is larger than 64 MiB");
    }
}
