//! What must not be kept or told: the texts of secrets, in each form in which they may meet us. They become `(secret)` wherever a run
//! writes or says something; where it must be known whether two are equal, an HMAC with a key of the run stands for them.
//!
//! Known are: parameters of type `secret`, and the values of every Secret that the run reads or writes. Texts shorter than six
//! characters are not looked for, because they are found everywhere; inside a Secret itself everything is replaced.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use memchr::memmem::Finder;
use sha2::Sha256;

use super::chain::hex;
use crate::base::base64;
use crate::base::json::{Map, Value as Json};

/// What stands for a secret.
pub const HIDDEN: &str = "(secret)";
/// Texts with fewer characters are not looked for.
const SHORT: usize = 6;
/// The same for one line of several.
const SHORT_LINE: usize = 12;
/// What kubectl keeps of an object beside it: of a Secret, its values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The secrets that a run has met.
pub struct Redactor {
    key: [u8; 32],
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    texts: BTreeSet<String>,
    forms: BTreeSet<String>,
    finders: Vec<Finder<'static>>,
}

impl Redactor {
    /// One that knows nothing yet; marks are made with this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Redactor {
        Redactor { key, known: RefCell::new(Known::default()) }
    }

    /// Looks for this text from now on, and for its base64, URL and JSON forms.
    pub fn learn(&self, text: &str) {
        let mut known = self.known.borrow_mut();
        known.learn(text, SHORT);
        known.learn(text.trim(), SHORT);
        if text.trim().contains('\n') {
            // A log shows the lines one by one. The first and last of PEM are the same in all of them.
            text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).for_each(|line| known.learn(line, SHORT_LINE));
        }
    }

    /// Looks for what the Secrets in this object or list hold.
    pub fn learn_object(&self, object: &Json) {
        match object {
            Json::Object(map) if is_secret(map) => self.learn_secret(map),
            Json::Object(map) => map.values().for_each(|value| self.learn_object(value)),
            Json::Array(items) => items.iter().for_each(|item| self.learn_object(item)),
            _ => {}
        }
    }

    /// Looks for what a write to a Secret gives it: a part of one, which does not say its kind, or a JSON patch.
    pub fn learn_part(&self, part: &Json) {
        match part {
            Json::Object(map) => self.learn_secret(map),
            Json::Array(operations) => {
                for operation in operations.iter() {
                    let path = operation.get("path").and_then(Json::as_str).unwrap_or_default();
                    let Some(value) = operation.get("value") else { continue };
                    match path.split('/').nth(1) {
                        Some("data") => each_text(value, &mut |text| self.learn_encoded(text)),
                        Some("stringData") => each_text(value, &mut |text| self.learn(text)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Looks for what a call gives to a Secret, when that is what it is about: `patch("secret/db", { stringData = … })`.
    pub fn learn_call(&self, arguments: &[Json]) {
        if let Some((Json::String(first), rest)) = arguments.split_first()
            && is_secret_name(first)
        {
            rest.iter().for_each(|part| self.learn_part(part));
        }
        arguments.iter().for_each(|argument| self.learn_read(argument));
    }

    /// Looks for what was read: a Secret, or a list of them. What lies deeper is not looked at.
    pub fn learn_read(&self, value: &Json) {
        match value {
            Json::Object(map) if is_secret(map) => self.learn_secret(map),
            Json::Array(items) => {
                items.iter().filter_map(Json::as_object).filter(|item| is_secret(item)).for_each(|item| self.learn_secret(item));
            }
            _ => {}
        }
    }

    /// Replaces what is secret in the arguments of a call.
    pub fn call(&self, arguments: &mut [Json]) {
        self.learn_call(arguments);
        let about = arguments.first().and_then(Json::as_str).is_some_and(is_secret_name);
        for argument in arguments.iter_mut() {
            match argument {
                Json::Object(map) if about => drop(blank(map)),
                Json::Array(operations) if about => {
                    for place in 0..operations.len() {
                        if let Some(value) = operations.get_mut(place).and_then(|operation| operation.get_mut("value")) {
                            *value = HIDDEN.into();
                        }
                    }
                }
                _ => {}
            }
            self.json(argument);
        }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn knows_nothing(&self) -> bool {
        self.known.borrow().finders.is_empty()
    }

    fn learn_secret(&self, secret: &Map) {
        // Beside the token these hold the name of the namespace, and the certificate that everybody may see.
        let token = secret.get("type").and_then(Json::as_str) == Some("kubernetes.io/service-account-token");
        let counts = |key: &str| !token || key == "token";
        let values = |part: &str| secret.get(part).and_then(Json::as_object).cloned().unwrap_or_default();
        for (_, value) in values("data").iter().filter(|(key, _)| counts(key)) {
            each_text(value, &mut |text| self.learn_encoded(text));
        }
        for (_, value) in values("stringData").iter().filter(|(key, _)| counts(key)) {
            each_text(value, &mut |text| self.learn(text));
        }
    }

    fn learn_encoded(&self, text: &str) {
        match base64::decode(text).map(String::from_utf8) {
            Some(Ok(plain)) => self.learn(&plain),
            // What is no text has this form only; what is no base64 the server will refuse, and it may be the secret itself.
            _ => self.learn(text),
        }
    }

    /// Replaces what is secret in a document, keys included; gives whether there was something.
    pub fn json(&self, value: &mut Json) -> bool {
        self.learn_object(value);
        self.hide(value)
    }

    fn hide(&self, value: &mut Json) -> bool {
        match value {
            Json::String(text) => match self.text(text) {
                Cow::Borrowed(_) => false,
                Cow::Owned(hidden) => {
                    *value = hidden.into();
                    true
                }
            },
            Json::Array(items) => {
                (0..items.len()).fold(false, |found, place| items.get_mut(place).is_some_and(|item| self.hide(item)) | found)
            }
            Json::Object(map) => {
                let mut found = is_secret(map) && blank(map);
                let names: Vec<String> = map.keys().map(ToString::to_string).collect();
                for name in names {
                    if let Cow::Owned(hidden) = self.text(&name)
                        && let Some(value) = map.remove(&name)
                    {
                        map.insert(hidden, value);
                        found = true;
                    }
                }
                map.values_mut().fold(found, |found, value| self.hide(value) | found)
            }
            _ => false,
        }
    }

    /// The text without what is secret.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.borrow();
        let mut places: Vec<(usize, usize)> = Vec::new();
        for finder in known.finders.iter().filter(|finder| finder.needle().len() <= text.len()) {
            places.extend(finder.find_iter(text.as_bytes()).map(|at| (at, at + finder.needle().len())));
        }
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        places.sort_unstable();
        let (mut out, mut shown) = (String::with_capacity(text.len()), 0);
        let mut places = places.into_iter().peekable();
        while let Some((from, mut to)) = places.next() {
            while let Some((_, end)) = places.next_if(|(next, _)| *next < to) {
                to = to.max(end);
            }
            out.push_str(text.get(shown..from).unwrap_or_default());
            out.push_str(HIDDEN);
            shown = to;
        }
        out.push_str(text.get(shown..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// What stands for a value where it must be known whether another is equal to it: `hmac-sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn mark(&self, value: &Json) -> String {
        // Equal documents have equal text. A key of any length is one of HMAC's.
        let digest = Hmac::<Sha256>::new_from_slice(&self.key).map(|hmac| hmac.chain_update(value.to_string()).finalize().into_bytes());
        digest.map_or_else(|_| HIDDEN.to_owned(), |digest| format!("hmac-sha256:{}", hex(&digest)))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("known", &self.known.borrow().texts.len()).finish_non_exhaustive()
    }
}

impl Known {
    fn learn(&mut self, text: &str, short: usize) {
        if text.chars().count() < short || !self.texts.insert(text.to_owned()) {
            return;
        }
        for form in forms(text) {
            if form.len() >= SHORT && self.forms.insert(form.clone()) {
                self.finders.push(Finder::new(form.as_bytes()).into_owned());
            }
        }
    }
}

/// The text itself, as base64 (also in the middle of something longer), in a URL, and inside JSON.
fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    for before in 0..3_usize {
        let mut bytes = vec![b'x'; before];
        bytes.extend(text.bytes());
        // The first characters mix with what is before, the last ones with what is after.
        let clean = base64::encode(&bytes);
        let whole = before.saturating_mul(8).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        let inner = clean.get(whole..end).unwrap_or_default();
        if inner.len() >= 8 {
            forms.push(inner.replace('+', "-").replace('/', "_"));
            forms.push(inner.to_owned());
        }
    }
    let whole = base64::encode(text.as_bytes());
    forms.push(whole.trim_end_matches('=').to_owned());
    forms.push(whole);
    for upper in [true, false] {
        forms.push(url(text, upper));
    }
    let quoted = Json::from(text).to_string();
    forms.push(quoted.trim_start_matches('"').trim_end_matches('"').to_owned());
    forms
}

fn url(text: &str, upper: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte if upper => out.push_str(&format!("%{byte:02X}")),
            byte => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

/// Whether it is a Secret; items of a list do not say their kind.
fn is_secret(map: &Map) -> bool {
    let text = |key: &str| map.get(key).and_then(Json::as_str);
    match text("kind") {
        Some(kind) => kind == "Secret" && text("apiVersion").is_none_or(|version| version == "v1"),
        None => map.contains_key("metadata") && map.contains_key("data") && text("type").is_some(),
    }
}

/// Whether a reference is one to a Secret.
fn is_secret_name(reference: &str) -> bool {
    reference.split_once('/').is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("secret") || kind.eq_ignore_ascii_case("secrets"))
}

/// Empties a Secret: its keys stay.
fn blank(secret: &mut Map) -> bool {
    let mut found = false;
    for part in ["data", "stringData"] {
        if let Some(values) = secret.get_mut(part).and_then(Json::as_object_mut) {
            found |= !values.is_empty();
            values.values_mut().for_each(|value| *value = HIDDEN.into());
        }
    }
    let annotations = secret.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(kept) = annotations.and_then(|annotations| annotations.get_mut(LAST_APPLIED)) {
        *kept = HIDDEN.into();
        found = true;
    }
    found
}

fn each_text(value: &Json, tell: &mut dyn FnMut(&str)) {
    match value {
        Json::String(text) => tell(text),
        Json::Array(items) => items.iter().for_each(|item| each_text(item, tell)),
        Json::Object(map) => map.values().for_each(|value| each_text(value, tell)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    const TEXT: &str = "p4ss/wörd+\"x\"?";

    fn knowing(text: &str) -> Redactor {
        let redactor = Redactor::new([7; 32]);
        redactor.learn(text);
        redactor
    }

    #[test]
    fn nothing_is_left_of_the_values_of_a_secret() {
        for text in ["canary-01-Zq7/+w", "123456", "12345678", "a longer one, with words"] {
            let redactor = Redactor::new([0; 32]);
            redactor.learn(text);
            assert_eq!(redactor.text(&format!("<{}>", base64::encode(text.as_bytes()))), "<(secret)>", "{text}");
        }
    }

    #[test]
    fn each_form_is_found_and_nothing_else() {
        let redactor = knowing(TEXT);
        let encoded = base64::encode(TEXT.as_bytes());
        for form in [
            TEXT.to_owned(),
            encoded.trim_end_matches('=').to_owned(),
            encoded.replace('+', "-").replace('/', "_"),
            url(TEXT, true),
            url(TEXT, false),
            json!({ "k": TEXT }).to_string(),
        ] {
            let shown = redactor.text(&format!("before {form} after")).into_owned();
            assert!(shown.starts_with("before ") && shown.ends_with(" after") && shown.contains(HIDDEN), "{form}: {shown}");
            assert!(!shown.contains("p4ss") && !shown.contains("cDRzcy"), "{form}: {shown}");
        }
        assert!(matches!(redactor.text("p4ss/word and no more"), Cow::Borrowed(_)));
    }

    #[test]
    fn base64_of_something_longer_is_found_in_each_place() {
        let redactor = knowing("hunter2hunter2");
        for user in ["a", "ab", "abc", "abcd"] {
            let header = base64::encode(format!("{user}:hunter2hunter2 and more").as_bytes());
            assert!(redactor.text(&header).contains(HIDDEN), "{header}");
        }
    }

    #[test]
    fn what_is_short_is_not_looked_for_and_what_overlaps_is_replaced_once() {
        let redactor = knowing("ab12");
        assert_eq!(redactor.text("ab12"), "ab12");
        redactor.learn("secret");
        assert_eq!(redactor.text("a secret!"), "a (secret)!");
        redactor.learn("cret-tail");
        assert_eq!(redactor.text("a secret-tail"), "a (secret)");
        assert_eq!(redactor.text("ö secretsecret"), "ö (secret)(secret)");
    }

    #[test]
    fn a_secret_is_emptied_and_its_values_are_found_elsewhere() {
        let redactor = Redactor::new([7; 32]);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "db", "annotations": { LAST_APPLIED: "{\"data\":{\"pin\":\"MTIzNA==\"}}" } },
            "data": { "password": base64::encode(b"correct horse"), "pin": base64::encode(b"1234") },
            "stringData": { "token": "tok-en-tok-en" },
        });
        let mut list = json!({ "items": [secret] });
        assert!(redactor.json(&mut list));
        let hidden = json!({ "password": HIDDEN, "pin": HIDDEN });
        assert_eq!(list.pointer("/items/0/data"), Some(&hidden));
        assert_eq!(list.pointer("/items/0/metadata/name").and_then(Json::as_str), Some("db"));
        assert!(!list.to_string().contains("MTIzNA"), "{list}");
        let mut told = json!({ "args": ["--password=correct horse", { "tok-en-tok-en": 1 }], "kind": "Pod" });
        assert!(redactor.json(&mut told));
        assert_eq!(told, json!({ "args": ["--password=(secret)", { HIDDEN: 1 }], "kind": "Pod" }));
        assert!(!redactor.json(&mut json!({ "kind": "ConfigMap", "data": { "a": "b" } })));
    }

    #[test]
    fn items_of_a_list_and_parts_of_a_secret_do_not_say_their_kind() {
        let redactor = Redactor::new([7; 32]);
        redactor.learn_object(&json!([{ "metadata": {}, "type": "Opaque", "data": { "a": base64::encode(b"item-value") } }]));
        redactor.learn_part(&json!({ "stringData": { "a": "part-value" } }));
        redactor.learn_part(&json!([{ "op": "add", "path": "/data/a", "value": base64::encode(b"patch-value") }]));
        assert_eq!(redactor.text("item-value part-value patch-value"), "(secret) (secret) (secret)");
    }

    #[test]
    fn what_a_call_gives_to_a_secret_is_learned_and_hidden() {
        let redactor = Redactor::new([7; 32]);
        let mut patch = [json!("Secrets/shop/db"), json!({ "stringData": { "a": "patched-value", "b": "abc" } })];
        redactor.call(&mut patch);
        assert_eq!(patch[1], json!({ "stringData": { "a": HIDDEN, "b": HIDDEN } }));
        let mut operations = [json!("secret/db"), json!([{ "op": "add", "path": "/data/a", "value": "YWJj" }])];
        redactor.call(&mut operations);
        assert_eq!(operations[1], json!([{ "op": "add", "path": "/data/a", "value": HIDDEN }]));
        let mut other = [json!("configmap/cfg"), json!({ "data": { "a": "abc", "b": "patched-value" } })];
        redactor.call(&mut other);
        assert_eq!(other[1], json!({ "data": { "a": "abc", "b": HIDDEN } }));
        redactor.learn_read(&json!([{ "kind": "Secret", "stringData": { "a": "from-a-list" } }]));
        assert_eq!(redactor.text("from-a-list"), HIDDEN);
        assert!(!redactor.knows_nothing() && Redactor::new([7; 32]).knows_nothing());
    }

    #[test]
    fn the_token_of_an_account_is_secret_and_its_namespace_is_not() {
        let redactor = Redactor::new([7; 32]);
        let data = json!({ "token": base64::encode(b"eyJhbGciOi"), "namespace": base64::encode(b"kube-system") });
        redactor.learn_object(&json!({ "kind": "Secret", "type": "kubernetes.io/service-account-token", "data": data }));
        assert_eq!(redactor.text("eyJhbGciOi in kube-system"), "(secret) in kube-system");
    }

    #[test]
    fn lines_of_a_key_are_found_one_by_one() {
        let redactor = knowing("-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nshort\n-----END KEY-----\n");
        assert_eq!(redactor.text("line MIIEvQIBADANBgkq"), "line (secret)");
        assert_eq!(redactor.text("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }

    #[test]
    fn marks_are_equal_for_equal_values_of_one_run() {
        let (one, other) = (Redactor::new([7; 32]), Redactor::new([8; 32]));
        let value = json!({ "b": 1, "a": "x" });
        assert_eq!(one.mark(&value), one.mark(&json!({ "a": "x", "b": 1 })));
        assert_ne!(one.mark(&value), one.mark(&json!({ "a": "y", "b": 1 })));
        assert_ne!(one.mark(&value), other.mark(&value));
        // RFC 4231, test case 1: the key is 20 bytes of 0x0b.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let digest = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update("Hi There").finalize().into_bytes();
        assert_eq!(hex(&digest), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
