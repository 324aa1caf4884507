//! Releases of Helm in a snapshot: what they were made of stays, the values of secrets in it do not.

use super::hex;
use super::redact::{HIDDEN, is_secret_name, redact, without_entries};
use crate::base::json::{Value as Json, json};
use crate::base::{base64, release};
use sha2::{Digest as _, Sha256};

/// Where a release that was cut has the hash of what it was.
const WAS: &str = "lockgate-sha256";

/// The `data.release` of a Secret without the secrets in it; tells what was cut. `None` for what is no release.
pub(super) fn without_secrets(value: &str, digits: usize, tell: &mut dyn FnMut(&str, &str)) -> Option<String> {
    let coded = String::from_utf8(base64::decode(value)?).ok()?;
    let mut release = release::unpack(&coded).ok()?;
    if release.get(WAS).is_none() {
        cut(&mut release, tell);
        let hash: String = hex(&Sha256::digest(value.as_bytes())).chars().take(digits).collect();
        release.as_object_mut()?.insert(WAS, hash.into());
    }
    Some(base64::encode(release::pack(&release).ok()?.as_bytes()))
}

/// The hash that a release has which was cut.
pub(super) fn hash(value: &str) -> Option<String> {
    let coded = String::from_utf8(base64::decode(value)?).ok()?;
    release::unpack(&coded).ok()?.get(WAS)?.as_str().map(str::to_owned)
}

fn cut(release: &mut Json, tell: &mut dyn FnMut(&str, &str)) {
    for part in ["/config", "/chart/values"] {
        if let Some(values) = release.pointer_mut(part) {
            hide(&mut format!("data.release{}", part.replace('/', ".")), values, tell);
        }
    }
    // What it was rendered from is what a chart is: nothing that is read here needs it.
    for part in ["templates", "files"] {
        if let Some(chart) = release.get_mut("chart").and_then(Json::as_object_mut) {
            drop(chart.remove(part));
        }
    }
    if let Some(Json::String(notes)) = release.pointer_mut("/info/notes")
        && let Some(without) = without_entries(notes)
    {
        tell("data.release.info.notes", "an entry whose name says that it is a secret");
        *notes = without.into();
    }
    let mut manifests: Vec<&mut Json> = Vec::new();
    if let Some(fields) = release.as_object_mut() {
        for (key, value) in fields.iter_mut() {
            match key.as_str() {
                "manifest" => manifests.push(value),
                "hooks" => manifests.extend(
                    value.as_array_mut().into_iter().flat_map(|hooks| hooks.iter_mut()).filter_map(|hook| hook.get_mut("manifest")),
                ),
                _ => {}
            }
        }
    }
    for manifest in manifests {
        if let Some(without) = manifest.as_str().and_then(|text| rendered(text, tell)) {
            *manifest = without.into();
        }
    }
}

/// Values whose names say that they are secrets.
fn hide(path: &mut String, value: &mut Json, tell: &mut dyn FnMut(&str, &str)) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| hide(path, item, tell)),
        Json::Object(map) => {
            for (key, value) in map.iter_mut() {
                let length = path.len();
                path.push_str(&format!(".{key}"));
                match value {
                    Json::String(text) if is_secret_name(key) && !text.is_empty() => {
                        tell(path, "its name says that it is a secret");
                        *value = HIDDEN.into();
                    }
                    _ => hide(path, value, tell),
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Rendered objects without what is secret in them; `None` when nothing is.
fn rendered(text: &str, tell: &mut dyn FnMut(&str, &str)) -> Option<String> {
    let mut found = false;
    let documents: Vec<String> = text
        .split("\n---")
        .map(|document| {
            let parsed: Result<Json, _> = serde_saphyr::from_str(document.trim_start_matches("---"));
            let Ok(mut object) = parsed else {
                found = true;
                tell("data.release.manifest", "an object that cannot be read");
                return format!("\n# {HIDDEN}");
            };
            let mut cuts = Vec::new();
            redact("", &mut object, &mut cuts);
            if cuts.is_empty() {
                return document.to_owned();
            }
            found = true;
            for cut in cuts {
                tell(&format!("data.release.manifest {}", cut.field), &cut.why);
            }
            // JSON is YAML.
            format!("\n{}", if object.is_null() { json!({}) } else { object })
        })
        .collect();
    found.then(|| documents.join("\n---"))
}
