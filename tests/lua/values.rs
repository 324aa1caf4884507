//! Typed values: fields, comparison, printing, and what is said when they meet text.

use super::support::{error, value};
use lockgate_sim::json::json;

#[test]
fn a_version_has_numbers_and_methods() {
    let seen = value(
        "local v = version(\"v1.9.3\")
         return { v.major, v.minor, v.patch, version(\"1.31\").patch or \"none\", version(\"v1.31.0-rc.1\").pre,
                  version(\"v1.9.4\"):is_patch_of(v), v:is_patch_of(\"v1.9.3\"), v:same_minor(version(\"1.9\")), typeof(v) }",
    );
    assert_eq!(seen, json!([1, 9, 3, "none", "rc.1", true, false, true, "version"]));
}

#[test]
fn typed_values_compare_with_their_own_type() {
    let seen = value(
        "local a, b = version(\"v1.9.3\"), version(\"v1.10.0\")
         return { a < b, a <= a, a > b, a == version(\"1.9.3\"), a ~= b, quantity(\"1Gi\") > quantity(\"900Mi\"),
                  duration(\"90s\") == duration(\"1m30s\"), duration(90) < duration(\"2m\"), image(\"a:1\") == image(\"a:1\"), a == \"v1.9.3\" }",
    );
    assert_eq!(seen, json!([true, true, false, true, true, true, true, true, true, false]));
}

#[test]
fn comparing_with_text_says_what_to_write() {
    let error = error("return version(\"v1.9.3\") < \"v1.10.0\"");
    assert_eq!(error.message, "attempt to compare version < string");
    assert_eq!(error.hint.as_deref(), Some("a version compares with its own type: write `version(\"…\")` around the other side"));
    assert_eq!(error.places[0].line, 3);
    let error = self::error("return duration(\"1s\") < quantity(\"1\")");
    assert_eq!(error.hint.as_deref(), Some("a duration compares with its own type only"));
    let error = self::error("return image(\"a:1\") < image(\"a:2\")");
    assert_eq!(error.message, "two images have no order");
}

#[test]
fn they_print_everywhere_as_their_text() {
    let seen = value(
        "local v, i = version(\"v1.9.3\"), image(\"r.example/cni:v1.9.3\")
         return { tostring(v), `{v} of {i}`, (\"%s and %s\"):format(v, duration(\"90s\")), string.format(\"%5s|%d\", quantity(\"2Gi\"), 3), v .. \"!\", tostring(i.version) }",
    );
    assert_eq!(seen, json!(["v1.9.3", "v1.9.3 of r.example/cni:v1.9.3", "v1.9.3 and 1m30s", "  2Gi|3", "v1.9.3!", "v1.9.3"]));
}

#[test]
fn an_image_has_parts() {
    let seen = value(
        "local i = image(\"r.example:5000/team/cni:v1.9.3\")
         return { i.registry, i.repository, i.tag, i.digest or \"none\", i.version.minor, image(\"cni:latest\").version or \"none\" }",
    );
    assert_eq!(seen, json!(["r.example:5000", "team/cni", "v1.9.3", "none", 9, "none"]));
}

#[test]
fn a_wrong_field_or_text_is_an_error_with_its_place() {
    let error = error("return version(\"v1.9.3\").mayor");
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("a version has no field `mayor`", Some("did you mean `major`?")));
    assert_eq!(error.places[0].line, 3);
    let error = self::error("local x = version(\"one\")");
    assert!(error.message.starts_with("`version`: the argument") && error.message.contains("`one` is no version"), "{error}");
    assert_eq!((error.places[0].line, error.places[0].column), (3, Some(11)));
    let error = self::error("return image(nil)");
    assert!(error.message.starts_with("`image`: the argument"), "{error}");
    let error = self::error("return version(\"1.2.3\"):is_patch_of({})");
    assert!(error.message.starts_with("`is_patch_of` needs a version"), "{error}");
}
