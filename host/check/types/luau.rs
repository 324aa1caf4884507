//! The Luau type checker, `luau-analysis`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use luau_analysis::diagnostics::{TypeCheckLimits, TypeErrorData};
use luau_analysis::frontend::resolver::ModuleInfo;
use luau_analysis::{
    AnalysisError, DefinitionEnvironment, FileResolver, Frontend, FrontendOptions, ModuleName, NullConfigResolver, SourceCode,
    SourceCodeType,
};
use luau_common::BString;
use luau_config::{LintCode, Mode};
use luau_syntax::ast::Expression;

use super::Analyzer;
use crate::base::{Error, Result};
use crate::check::finding::{Finding, Rule};
use crate::check::tree;
use crate::lua::{Shelves, types};
use crate::run::Source;

/// How long one file may take, in seconds: a runbook takes some hundredths.
const LIMIT: f64 = 20.0;

/// The checker with the files that it has read and the definitions of the verbs.
pub(super) struct Luau {
    frontend: Frontend<Files, NullConfigResolver>,
    strict: bool,
    shelves: Shelves,
}

impl std::fmt::Debug for Luau {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luau").field("strict", &self.strict).finish_non_exhaustive()
    }
}

/// The files by name, and where modules are looked for.
struct Files {
    known: HashMap<String, Source>,
    shelves: Shelves,
}

impl FileResolver for Files {
    fn read_source(&mut self, name: &ModuleName) -> Option<SourceCode> {
        let source = self.known.get(&name.to_string())?;
        Some(SourceCode { source: BString::from(source.text.as_bytes()), kind: SourceCodeType::Module })
    }

    fn resolve_module(&mut self, context: Option<&ModuleInfo>, expr: Expression<'_>, _: &TypeCheckLimits) -> Option<ModuleInfo> {
        let name = expr.as_string().map(|name| name.value.as_bstr().to_string())?;
        let asking = self.known.get(&context?.name.to_string())?;
        // A module that is not there is told by the rule about modules.
        let found = self.shelves.find(&asking.beside, &name).ok()?;
        let label = BString::from(found.label.as_str());
        let text = found.text.as_str().into();
        let source = Source { name, file: found.label.clone(), text, beside: found.beside, modules: Vec::new() };
        self.known.entry(found.label).or_insert(source);
        Some(ModuleInfo { name: label, optional: false })
    }
}

fn broken(error: &AnalysisError) -> Error {
    Error::internal("checking types").cause(error.to_string())
}

fn frontend(strict: bool, shelves: &Shelves) -> Result<Frontend<Files, NullConfigResolver>> {
    let mut config = NullConfigResolver::default();
    config.default_config.mode = if strict { Mode::Strict } else { Mode::Nonstrict };
    let options = FrontendOptions {
        // Messages name types, which are kept for them.
        retain_full_type_graphs: true,
        run_lint_checks: true,
        module_time_limit_sec: Some(LIMIT),
        ..FrontendOptions::default()
    };
    let mut frontend = Frontend::new(Files { known: HashMap::new(), shelves: shelves.clone() }, config, options);
    frontend.register_builtin_globals(DefinitionEnvironment::Globals).map_err(|error| broken(&error))?;
    let scope = frontend.global_scope(DefinitionEnvironment::Globals);
    let loaded = frontend.load_definition_file(scope, types::file().as_bytes(), "@lockgate", false).map_err(|error| broken(&error))?;
    if !loaded.success {
        let said: Vec<String> = loaded.source_module.parse_errors.iter().map(ToString::to_string).collect();
        return Err(Error::internal("reading the definitions of the verbs").cause(said.join("; ")));
    }
    Ok(frontend)
}

impl Luau {
    /// Makes one, which knows the verbs.
    ///
    /// # Errors
    /// When it does not take their definitions.
    pub(super) fn new(strict: bool, shelves: &Shelves) -> Result<Luau> {
        Ok(Luau { frontend: frontend(strict, shelves)?, strict, shelves: shelves.clone() })
    }

    fn findings(&mut self, source: &Source) -> Result<Vec<Finding>> {
        let name = BString::from(source.file.as_str());
        self.frontend.file_resolver_mut().known.insert(source.file.clone(), source.clone());
        self.frontend.mark_dirty(&name, None);
        let checked = self.frontend.check(&name, None).map_err(|error| broken(&error))?;
        let place = |at| tree::place(&source.file, &source.text, at);
        let mut found = Vec::new();
        for error in checked.errors.iter().filter(|error| error.module_name == name) {
            // Names and modules have rules of their own, which hold without this checker too.
            if matches!(error.data, TypeErrorData::UnknownSymbol(_) | TypeErrorData::UnknownRequire(_) | TypeErrorData::SyntaxError(_)) {
                continue;
            }
            let said = self.frontend.semantic_model(&name).map(|model| model.error_message(error).to_string());
            let said = said.unwrap_or_else(|| "a type does not fit".to_owned());
            // What follows from another error is told by that one.
            if said.contains("*error-type*") {
                continue;
            }
            found.push(worded(Rule::Type, place(error.location), &said));
        }
        for warning in checked.lint_result.errors.iter().chain(&checked.lint_result.warnings) {
            // `recover` declines with `false` and otherwise gives nothing: that is how it is meant.
            if warning.code == LintCode::ImplicitReturn {
                continue;
            }
            found.push(worded(Rule::Lint, place(warning.location), &warning.text.to_string()));
        }
        if checked.timeout_hits.contains(&name) {
            found.push(Finding::new(Rule::Type, place(luau_syntax::location::Location::zero()), "its types take too long to check"));
        }
        Ok(found)
    }
}

/// What the checker says, in the voice of every other message: lower case, no final period; further lines are the reason.
fn worded(rule: Rule, place: crate::base::Place, said: &str) -> Finding {
    let mut lines = said.trim().lines();
    let first = lines.next().unwrap_or_default().trim();
    let mut characters = first.chars();
    let message = match (characters.next(), characters.next()) {
        (Some(one), Some(two)) if one.is_uppercase() && !two.is_uppercase() => {
            format!("{}{}", one.to_lowercase(), first.chars().skip(1).collect::<String>())
        }
        _ => first.to_owned(),
    };
    let finding = Finding::new(rule, place, message.trim_end_matches(['.', ';']).replace('\'', "`"));
    let rest: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    if rest.is_empty() { finding } else { finding.cause(rest.join(" ").replace('\'', "`")) }
}

impl Analyzer for Luau {
    fn analyze(&mut self, source: &Source) -> Result<Vec<Finding>> {
        // A checker that falls over one file must not take the other findings with it.
        let done = catch_unwind(AssertUnwindSafe(|| self.findings(source)));
        done.unwrap_or_else(|_| {
            self.frontend = frontend(self.strict, &self.shelves)?;
            Err(Error::internal(format!("the type checker broke on `{}`", source.file))
                .hint("this is a fault of lockgate, not of the file"))
        })
    }
}
