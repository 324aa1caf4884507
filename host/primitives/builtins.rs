//! The words of the language that touch nothing but their arguments: rows for the reference, the types and the prompt. The
//! functions are in `host/lua`.

use super::registry::{Definition, Effect, Param};
use super::types::Type;

const TEXT: Type = Type::new("string", "a string");
const ANY: Type = Type::new("any", "any value");

/// A row that differs from others only in what is listed.
const fn word(
    name: &'static str,
    doc: &'static [&'static str],
    params: &'static [Param],
    returns: (&'static str, &'static str),
    example: &'static str,
) -> Definition {
    Definition {
        name,
        effect: Effect::Pure,
        doc,
        params,
        options: &[],
        returns: returns.0,
        returns_doc: returns.1,
        since: "0.1",
        example,
        needs: &[],
        call: None,
    }
}

/// `ensure`
pub static ENSURE: Definition = Definition {
    options: &[Param { name: "reason", doc: &["The reason of the error; default `check_failed`."], ty: TEXT.optional() }],
    ..word(
        "ensure",
        &["Raises an error unless something holds.", "", "What holds is given back, so that `local x = ensure(f(), \"…\")` reads on."],
        &[
            Param { name: "ok", doc: &["What must hold: anything but `nil` and `false`."], ty: ANY },
            Param { name: "message", doc: &["What is wrong when it does not hold, in a sentence."], ty: TEXT },
        ],
        ("any", "what was given"),
        r#"ensure(exists("configmap/cce-cni-node-agent"), "this is no v1 container network")"#,
    )
};

/// `not_needed`
pub static NOT_NEEDED: Definition = Definition {
    effect: Effect::Tell,
    ..word(
        "not_needed",
        &[
            "Says in a check that there is nothing to do.",
            "",
            "The remaining checks still run; when all hold, the run ends well before its first step. An error outside of checks.",
        ],
        &[Param { name: "why", doc: &["Why, in a sentence."], ty: TEXT }],
        ("()", "nothing"),
        r#"if running == target then not_needed(`everything runs {target} already`) end"#,
    )
};

/// `version`
pub static VERSION: Definition = word(
    "version",
    &[
        "Reads a version: `v1.9.3`, `1.31`, `v1.31.0-rc.1`, `v1.31.2+k3s1`.",
        "",
        "It has `.major`, `.minor`, `.patch`, `:is_patch_of(other)` and `:same_minor(other)`, and is compared by numbers, then",
        "pre-release. What vendors append (`-eks-a5ec690`, `+k3s1`) takes no part.",
    ],
    &[Param { name: "text", doc: &["The version."], ty: TEXT }],
    ("Version", "the version"),
    r#"ensure(version("v1.9.4"):is_patch_of(version("v1.9.3")), "not a patch")"#,
);

/// `image`
pub static IMAGE: Definition = word(
    "image",
    &[
        "Reads an image reference.",
        "",
        "It has `.registry`, `.repository`, `.tag`, `.digest` and `.version`, the version that the tag says; each may be `nil` except",
        "the repository. Two images are equal when their texts are.",
    ],
    &[Param { name: "text", doc: &["The reference, for example `registry.example/cce-cni:v1.9.3`."], ty: TEXT }],
    ("Image", "the image"),
    r#"print(image("registry.example/cce-cni:v1.9.3").version.minor)"#,
);

/// `duration`
pub static DURATION: Definition = word(
    "duration",
    &["Reads a length of time: `90s`, `1h30m`, `500ms`, `2d`, or a number of seconds."],
    &[Param { name: "text", doc: &["The length of time."], ty: Type::new("string | number", "a duration such as \"90s\", or seconds") }],
    ("Duration", "the duration"),
    r#"wait_rollout("deployment/cce-eni-ipam", { timeout = duration("10m") })"#,
);

/// `quantity`
pub static QUANTITY: Definition = word(
    "quantity",
    &["Reads a Kubernetes quantity: `500m`, `2Gi`, `1e3`. Quantities compare by their amount."],
    &[Param { name: "text", doc: &["The quantity."], ty: TEXT }],
    ("Quantity", "the quantity"),
    r#"ensure(quantity(get("node/w1").status.allocatable.memory) >= quantity("2Gi"), "the node is too small")"#,
);

/// `null`
pub static NULL: Definition = word(
    "null",
    &["JSON's `null`: unlike `nil` it is there. In a patch it removes a field."],
    &[],
    ("null", "a value, not a function"),
    r#"patch("node/w1", { metadata = { labels = { old = null } } })"#,
);

/// `array`
pub static ARRAY: Definition = word(
    "array",
    &["Says that a table is a JSON array. Only an empty one needs saying: `{}` alone is an empty object."],
    &[Param { name: "items", doc: &["The elements."], ty: Type::new("{ any }", "a list") }],
    ("{ any }", "the table that was given"),
    r#"patch("service/cce-eni-ipam", { spec = { externalIPs = array{} } })"#,
);

/// `object`
pub static OBJECT: Definition = word(
    "object",
    &["Says that a table is a JSON object, where an empty one could be taken for an array."],
    &[Param { name: "fields", doc: &["The fields."], ty: Type::new("{ [string]: any }", "a table of fields") }],
    ("{ [string]: any }", "the table that was given"),
    r#"patch("deployment/web", { spec = { template = { spec = { securityContext = object{} } } } })"#,
);

/// `at`
pub static AT: Definition = word(
    "at",
    &["Reads a field deep in a table; on the way nothing needs to be there."],
    &[
        Param { name: "table", doc: &["The table; `nil` is allowed."], ty: ANY.optional() },
        Param { name: "path", doc: &["Keys, and places in lists from 1."], ty: Type::new("{ any }", "a list of keys") },
        Param { name: "default", doc: &["What to give when it is not there."], ty: ANY.optional() },
    ],
    ("any", "the field, or the default"),
    r#"print(at(get("deployment/web"), { "spec", "strategy", "type" }, "RollingUpdate"))"#,
);

/// `merge`
pub static MERGE: Definition = word(
    "merge",
    &["Merges two tables as a JSON merge patch does: maps are merged, lists replaced, `null` removes. Neither is changed."],
    &[
        Param { name: "a", doc: &["The table to begin with."], ty: Type::new("{ [string]: any }", "a table of fields") },
        Param { name: "b", doc: &["What to put over it."], ty: Type::new("{ [string]: any }", "a table of fields") },
    ],
    ("{ [string]: any }", "a new table"),
    r#"local values = merge({ tunnel = "vxlan" }, { tunnel = null, routingMode = "native" })"#,
);

/// `json`
pub static JSON: Definition = word(
    "json",
    &[
        "Reads a text of JSON, such as programs print in pods and on machines.",
        "",
        "`null` in it is `null`, an empty list `array{}`. A text that is no JSON is an error (`invalid`) with line and column.",
    ],
    &[Param { name: "text", doc: &["The text: one value, and nothing behind it."], ty: TEXT }],
    ("any", "what it says"),
    r#"print(json('{ "serverVersion": { "minor": 31 } }').serverVersion.minor)"#,
);
