//! CronJobs.

use crate::json::Value;

use super::{NOT_NEGATIVE, labels, pod};
use crate::status::Cause;
use crate::view;

/// A job gets eleven characters behind the name.
const LONGEST_NAME: usize = 52;
/// Ranges of the five fields of a schedule, with the names that count as numbers.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

pub(super) fn cron_job(object: &Value, causes: &mut Vec<Cause>) {
    let text = |name: &str| view::text(object, &["spec", name]);
    let schedule = text("schedule");
    let mut wrong = |why: &str| causes.push(Cause::invalid("spec.schedule", &schedule.into(), why));
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if let Err(why) = parse(schedule) {
        wrong(&why);
    } else if schedule.contains("TZ") {
        wrong("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
    let zone = text("timeZone");
    if view::at(object, &["spec", "timeZone"]).is_some() && !is_zone(zone) {
        let (shown, why) = (zone, format!("unknown time zone {zone}"));
        causes.push(Cause::invalid("spec.timeZone", &shown.into(), &why));
    }
    super::counts(object, &["startingDeadlineSeconds"], causes);
    super::common::one_of(text("concurrencyPolicy"), "spec.concurrencyPolicy", &["Allow", "Forbid", "Replace"], causes);
    job(object, causes);
    super::counts(object, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], causes);
    let name = view::name(object);
    if name.len() > LONGEST_NAME {
        causes.push(Cause::invalid("metadata.name", &name.into(), "must be no more than 52 characters"));
    }
}

/// The template of the jobs.
fn job(object: &Value, causes: &mut Vec<Cause>) {
    let field = "spec.jobTemplate.spec";
    let spec = view::at(object, &["spec", "jobTemplate", "spec"]).unwrap_or(&Value::Null);
    for name in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        if let Some(number) = view::int(spec, &[name]).filter(|number| *number < 0) {
            causes.push(Cause::invalid(format!("{field}.{name}"), &number.into(), NOT_NEGATIVE));
        }
    }
    labels(view::at(spec, &["template", "metadata", "labels"]), &format!("{field}.template.labels"), causes);
    if let Some(selector) = spec.get("selector") {
        causes.push(Cause::invalid(format!("{field}.selector"), selector, "`selector` will be auto-generated"));
    }
    if view::flag(spec, &["manualSelector"]) {
        causes.push(Cause::not_supported(format!("{field}.manualSelector"), &true.into(), &["nil", "false"]));
    }
    pod::template(view::at(spec, &["template", "spec"]), &format!("{field}.template.spec"), causes);
    let policy = view::text(spec, &["template", "spec", "restartPolicy"]);
    if matches!(policy, "" | "Always") {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required(format!("{field}.template.spec.restartPolicy"), why));
    }
}

/// Names of time zones as the tz database writes them. Which of them exist is not known here: what has the form is taken.
fn is_zone(name: &str) -> bool {
    let parts = name.split('/');
    let fits = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(|b| b.is_ascii_graphic());
    const AREAS: [&str; 10] = ["Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"];
    let mut parts = parts.peekable();
    let area = parts.next().unwrap_or_default();
    if parts.peek().is_none() {
        return matches!(
            area,
            "UTC" | "GMT" | "CET" | "EET" | "EST" | "HST" | "MET" | "MST" | "WET" | "Japan" | "Israel" | "Turkey" | "Zulu"
        );
    }
    (AREAS.contains(&area) || matches!(area, "Etc" | "US" | "Canada" | "Brazil" | "Chile" | "Mexico")) && parts.all(fits)
}

/// Whether a schedule can be read; the error is that of the server's parser.
fn parse(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if let Some(zone) = ["TZ=", "CRON_TZ="].iter().find_map(|prefix| schedule.strip_prefix(prefix)) {
        rest = zone.split_once(' ').map_or("", |(_, rest)| rest).trim();
    }
    if let Some(name) = rest.strip_prefix('@') {
        return descriptor(name, rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, (least, most, names)) in fields.iter().zip(FIELDS) {
        field.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, least, most, names))?;
    }
    Ok(())
}

fn descriptor(name: &str, whole: &str) -> Result<(), String> {
    if let Some(duration) = name.strip_prefix("every ") {
        let units = duration.split(|c: char| c.is_ascii_digit() || c == '.').filter(|unit| !unit.is_empty());
        let fits = duration.starts_with(|c: char| c.is_ascii_digit())
            && duration.ends_with(|c: char| c.is_ascii_alphabetic())
            && units.into_iter().all(|unit| matches!(unit, "h" | "m" | "s" | "ms" | "us" | "ns"));
        return if fits { Ok(()) } else { Err(format!("failed to parse duration {whole}: time: invalid duration {duration:?}")) };
    }
    match name {
        "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
        _ => Err(format!("unrecognized descriptor: {whole}")),
    }
}

/// One of `*`, `7`, `1-5`, each perhaps with `/2` behind it.
fn range(part: &str, least: u32, most: u32, names: &[&str]) -> Result<(), String> {
    let number = |text: &str| -> Result<u32, String> {
        if let Some(at) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(least + u32::try_from(at).unwrap_or(0));
        }
        match text.parse::<i64>() {
            Ok(negative) if negative < 0 => Err(format!("negative number ({negative}) not allowed: {text}")),
            Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
            Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
        }
    };
    let mut pieces = part.split('/');
    let (span, step, more) = (pieces.next().unwrap_or_default(), pieces.next(), pieces.next());
    let mut ends = span.split('-');
    let (from, to, third) = (ends.next().unwrap_or_default(), ends.next(), ends.next());
    if third.is_some() {
        return Err(format!("too many hyphens: {part}"));
    }
    let (start, mut end) = if matches!(from, "*" | "?") {
        (least, most)
    } else {
        let start = number(from)?;
        (start, to.map_or(Ok(start), number)?)
    };
    if more.is_some() {
        return Err(format!("too many slashes: {part}"));
    }
    if let Some(step) = step {
        if number(step)? == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        if to.is_none() {
            end = most;
        }
    }
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {part}"));
    }
    if end > most {
        return Err(format!("end of range ({end}) above maximum ({most}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_like_cron() {
        for good in ["*/5 * * * *", "@daily", "@every 1h30m", "1-5/2,7 1 1 JAN MON-FRI", "? ? ? ? ?", "0 0 31 12 6"] {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("bad", "expected exactly 5 fields, found 1: [bad]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
        ] {
            assert_eq!(parse(bad).unwrap_err(), why, "{bad}");
        }
    }
}
