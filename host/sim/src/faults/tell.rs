//! Rules and deeds in words, one line each.

use std::fmt;

use super::{Act, Action, Deed, Happening, Match, Rule, Side, Write};
use crate::model::Span;

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.when, self.action)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = match (self.nth, self.every) {
            (Some(nth), _) => format!("request {nth}"),
            (None, Some(every)) => format!("every {every}. request"),
            (None, None) => "every request".to_owned(),
        };
        f.write_str(&requests)?;
        let words = [
            ("to", &self.verb),
            ("of kind", &self.kind),
            ("of group", &self.group),
            ("in namespace", &self.namespace),
            ("named", &self.name),
            ("for subresource", &self.subresource),
            ("by client", &self.client),
            ("in step", &self.step),
        ];
        for (word, value) in words.into_iter().filter_map(|(word, value)| value.as_ref().map(|value| (word, value))) {
            write!(f, " {word} {}", if value.is_empty() { "\"\"" } else { value })?;
        }
        for (word, span) in
            [("from", self.after), ("until", self.until)].into_iter().filter_map(|(word, span)| span.map(|span| (word, span)))
        {
            write!(f, " {word} {span}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(failure) => {
                write!(f, "is answered {}", failure.code)?;
                if let Some(seconds) = failure.retry_after {
                    write!(f, ", to be tried again after {seconds} s")?;
                }
                failure.message.as_ref().map_or(Ok(()), |message| write!(f, ", {message:?}"))
            }
            Self::Conflict => f.write_str("is answered 409, as if somebody had changed the object"),
            Self::Refuse => f.write_str("finds no connection"),
            Self::LostBefore => f.write_str("is lost on its way"),
            Self::LostAfter => f.write_str("is carried out, and its answer is lost"),
            Self::Delayed(span) => write!(f, "loses its connection, and is carried out {span} later"),
            Self::Down(span) => write!(f, "finds no connection, nor does anybody for {span}"),
            Self::Late(span) => write!(f, "is answered {span} late"),
            Self::Stale => f.write_str("is answered from the past"),
            Self::Truncate(bytes) => write!(f, "has its answer cut after {bytes} bytes"),
            Self::Stall(bytes) => write!(f, "has its answer stopped after {bytes} bytes"),
            Self::Pad(blanks) => write!(f, "has {blanks} blanks behind its answer"),
            Self::Answer(_) => f.write_str("is carried out, and answered with another document"),
            Self::DropWatch(events) => write!(f, "is cut after {events} events"),
            Self::ExpireWatch(events) => write!(f, "expires after {events} events"),
            Self::NoBookmarks => f.write_str("gets no bookmarks"),
            Self::Before(deed) => write!(f, "comes right after {deed}"),
            Self::After(deed) => write!(f, "is followed by {deed}"),
            Self::Admit(_) => f.write_str("is changed by a webhook"),
            Self::Hold(Side::Before) => f.write_str("stands still before it is carried out"),
            Self::Hold(Side::After) => f.write_str("stands still after it was carried out"),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Write(write) => write.fmt(f)?,
            Act::Model(_) => f.write_str("a change of the world behind the API")?,
            Act::Clock(skew) => write!(f, "a jump of the clients' clock, the cluster's being {:#} ahead then", skew.0)?,
            Act::Late(request) => write!(f, "a late {} {}", request.method.as_str(), request.path)?,
        }
        if self.delay == Span::ZERO { Ok(()) } else { write!(f, ", {} later", self.delay) }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} of {} by {}", self.verb.as_str(), self.path, self.by)
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}: {}", self.at, self.deed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn rules_are_told_in_one_line() {
        for (rule, line) in [
            (
                json!({"match": {"verb": "patch", "kind": "Deployment", "nth": 2}, "do": {"fail": {"code": 503, "retry_after": 1}}}),
                "request 2 to patch of kind Deployment: is answered 503, to be tried again after 1 s",
            ),
            (json!({"match": {"after": "1m", "until": "90s"}, "do": "refuse"}), "every request from 1m until 1m 30s: finds no connection"),
            (
                json!({"match": {"every": 3, "group": ""}, "do": {"late": "100ms"}}),
                "every 3. request of group \"\": is answered 100ms late",
            ),
            (
                json!({"do": {"after": {"delay": "30s", "write": {"by": "gitops", "verb": "delete", "path": "/api/v1/nodes/n"}}}}),
                "every request: is followed by a DELETE of /api/v1/nodes/n by gitops, 30s later",
            ),
        ] {
            assert_eq!(crate::json::from_value::<Rule>(rule).unwrap().to_string(), line);
        }
    }
}
