//! `json!`.

/// A document written in JSON, with expressions where values stand; an expression may be anything that is
/// [`ToJson`](crate::json::ToJson), and a key may be an expression in parentheses. What an expression holds is shared, not copied.
///
/// ```
/// use lockgate_sim::json::{Value, json};
/// let labels = json!({"app": "web"});
/// let pod = json!({"metadata": {"name": "web-1", "labels": labels}, "spec": {"containers": [{"ports": [80, 443]}]}});
/// assert!(pod["metadata"]["labels"].shares(&labels));
/// assert_eq!(pod["spec"]["containers"][0]["ports"][1], 443);
/// ```
#[macro_export]
macro_rules! json {
    (null) => { $crate::json::Value::Null };
    ([]) => { $crate::json::Value::Array($crate::json::Array::new()) };
    ({}) => { $crate::json::Value::Object($crate::json::Map::new()) };
    ([ $($items:tt)+ ]) => {
        $crate::json::Value::Array($crate::json::Array::from($crate::json!(@items [] $($items)+)))
    };
    ({ $($members:tt)+ }) => {
        $crate::json::Value::Object({
            static SITE: $crate::json::Site = $crate::json::Site::new();
            $crate::json::Map::made_at(&SITE, $crate::json!(@members [] $($members)+))
        })
    };

    // Items: those done stand in the brackets.
    (@items [$($done:expr,)*]) => { ::std::vec![$($done,)*] };
    (@items [$($done:expr,)*] null $(, $($rest:tt)*)?) => {
        $crate::json!(@items [$($done,)* $crate::json::Value::Null,] $($($rest)*)?)
    };
    (@items [$($done:expr,)*] [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $crate::json!(@items [$($done,)* $crate::json!([$($inner)*]),] $($($rest)*)?)
    };
    (@items [$($done:expr,)*] {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $crate::json!(@items [$($done,)* $crate::json!({$($inner)*}),] $($($rest)*)?)
    };
    (@items [$($done:expr,)*] $item:expr $(, $($rest:tt)*)?) => {
        $crate::json!(@items [$($done,)* $crate::json::ToJson::to_json(&$item),] $($($rest)*)?)
    };

    // Members, in the same way.
    (@members [$($done:expr,)*]) => { [$($done,)*] };
    (@members [$($done:expr,)*] $key:tt : null $(, $($rest:tt)*)?) => {
        $crate::json!(@members [$($done,)* ($crate::json!(@key $key), $crate::json::Value::Null),] $($($rest)*)?)
    };
    (@members [$($done:expr,)*] $key:tt : [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $crate::json!(@members [$($done,)* ($crate::json!(@key $key), $crate::json!([$($inner)*])),] $($($rest)*)?)
    };
    (@members [$($done:expr,)*] $key:tt : {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $crate::json!(@members [$($done,)* ($crate::json!(@key $key), $crate::json!({$($inner)*})),] $($($rest)*)?)
    };
    (@members [$($done:expr,)*] $key:tt : $value:expr $(, $($rest:tt)*)?) => {
        $crate::json!(@members [$($done,)* ($crate::json!(@key $key), $crate::json::ToJson::to_json(&$value)),] $($($rest)*)?)
    };
    (@key ($key:expr)) => { $crate::json::Name::Made($crate::json::Text::from($key)) };
    (@key $key:literal) => { $crate::json::Name::Fixed($key) };
    (@key $key:expr) => { $crate::json::Name::Made($crate::json::Text::from($key)) };

    ($value:expr) => { $crate::json::ToJson::to_json(&$value) };
}
