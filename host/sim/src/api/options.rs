//! The options of a write, as they stand in its query: rehearsal, who writes, and what becomes of fields that nobody knows.

use super::dry_run_cause;
use crate::json::Value;
use crate::request::{Method, Request};
use crate::status::{Cause, Status};

/// The longest name of a manager, in bytes.
const LONGEST_MANAGER: usize = 128;

/// What becomes of fields that the type does not have, and of fields that come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    /// They are dropped without a word.
    Ignore,
    /// They are dropped and named in `Warning` headers: what the server does unless it is told otherwise.
    Warn,
    /// The write is refused.
    Strict,
}

/// The options of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Nothing is to be stored.
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
    /// Who owns what is written; never empty.
    pub(crate) manager: String,
    /// Whether an applied field is taken from its owner.
    pub(crate) force: bool,
}

/// Reads the options of a write; `apply` says that it is a server-side apply.
///
/// # Errors
/// 422 with everything that is wrong with them.
pub(crate) fn of(request: &Request, apply: bool) -> Result<WriteOptions, Status> {
    let (kind, patches) = match request.method {
        Method::Put => ("UpdateOptions", false),
        Method::Patch => ("PatchOptions", true),
        Method::Post | Method::Get | Method::Delete => ("CreateOptions", false),
    };
    let given = request.query("fieldManager").unwrap_or_default();
    let force = request.query("force").filter(|_| patches);
    let mut causes = Vec::new();
    if apply && given.is_empty() {
        causes.push(Cause::required("fieldManager", "is required for apply patch"));
    } else if !apply && force.is_some() {
        causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
    }
    check_manager(given, &mut causes);
    let asked: Vec<&str> =
        request.query.iter().filter(|(name, value)| name == "dryRun" && !value.is_empty()).map(|(_, v)| v.as_str()).collect();
    causes.extend(dry_run_cause(&asked));
    let validation = match request.query("fieldValidation").unwrap_or_default() {
        "" | "Warn" => Validation::Warn,
        "Ignore" => Validation::Ignore,
        "Strict" => Validation::Strict,
        other => {
            causes.push(Cause::not_supported("fieldValidation", &other.into(), &["", "Ignore", "Strict", "Warn"]));
            Validation::Warn
        }
    };
    if !causes.is_empty() {
        return Err(Status::invalid_options_all(kind, &causes));
    }
    let manager = if given.is_empty() { first_part(&request.user_agent) } else { given.to_owned() };
    let force = force.is_some_and(|value| !matches!(value, "false" | "0"));
    Ok(WriteOptions { dry_run: !asked.is_empty(), validation, manager, force })
}

fn check_manager(manager: &str, causes: &mut Vec<Cause>) {
    let field = || "fieldManager".to_owned();
    if manager.len() > LONGEST_MANAGER {
        let message = format!("Too long: may not be more than {LONGEST_MANAGER} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: field(), message });
    }
    let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    for (at, c) in manager.char_indices().filter(|(_, c)| unprintable(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        causes.push(Cause::invalid(field(), &Value::from(manager), &detail));
    }
}

/// The name of the program in a `User-Agent` header. A client that says nothing is known as `unknown`.
fn first_part(user_agent: &str) -> String {
    let program: String = user_agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let end = program.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_MANAGER).last();
    let name = &program[..end.unwrap_or(0)];
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, apply: bool) -> Result<WriteOptions, Status> {
        of(&Request::new(Method::Patch, &format!("/x?{query}")), apply)
    }

    #[test]
    fn what_is_not_said_is_what_the_server_does() {
        let options = read("", false).unwrap();
        assert_eq!((options.validation, options.dry_run, options.force), (Validation::Warn, false, false));
        assert_eq!(options.manager, "unknown");
        let mut request = Request::new(Method::Put, "/x");
        request.user_agent = "kubectl/v1.36.4 (linux/amd64)".to_owned();
        assert_eq!(of(&request, false).unwrap().manager, "kubectl");
        assert!(read("force=true&fieldManager=m", true).unwrap().force);
        assert!(!read("force=false&fieldManager=m", true).unwrap().force);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let message = read("fieldValidation=x&dryRun=y&force=1&fieldManager=a\u{1}b", false).unwrap_err().message().to_owned();
        assert_eq!(
            message,
            "PatchOptions.meta.k8s.io \"\" is invalid: [force: Forbidden: may not be specified for non-apply patch, fieldManager: Invalid \
             value: \"a\\u0001b\": invalid character U+0001 (at position 1), dryRun: Unsupported value: [\"y\"]: supported values: \
             \"All\", fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]"
        );
        assert_eq!(read("", true).unwrap_err().code(), 422);
        assert!(read(&format!("fieldManager={}", "m".repeat(129)), true).unwrap_err().message().ends_with("more than 128 bytes"));
    }
}
