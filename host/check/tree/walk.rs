//! The one walk over the parser's tree.

use luau_syntax::ast::BinaryOp;
use luau_syntax::ast::{Block, Expression, ExpressionKind, Local, Statement, StatementView, TableItem, Type, TypeKind};
use luau_syntax::location::Location;

use super::shape::{Expr, Guess, Item, Shape, Ty};
use super::{Assigned, Bound, Call, Compare, Declaration, FnId, Function, LocalId, Loop, Mention, Require, Target, Tree};
use crate::lua::declarations::WORDS;

/// Fields of objects whose values are maps by names that people chose.
const MAPS: &[&str] = &["labels", "annotations", "matchLabels", "nodeSelector", "data", "stringData", "binaryData", "limits", "requests"];

/// Reads a whole file into the tree.
pub(super) fn file(tree: &mut Tree, root: Block<'_>) {
    tree.functions.push(Function::default());
    let mut walk = Walk { tree, function: 0 };
    walk.block(root);
}

struct Walk<'t> {
    tree: &'t mut Tree,
    function: FnId,
}

/// The text of bytes; a file is UTF-8, its escapes need not be.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn id(local: &Local<'_>) -> LocalId {
    local.identity().as_u64()
}

impl Walk<'_> {
    fn block(&mut self, block: Block<'_>) {
        for statement in &block {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: Statement<'_>) {
        match statement.view() {
            StatementView::Block(block) => self.block(block),
            StatementView::Local(local) => self.local(local.bindings, local.values),
            StatementView::LocalFunction(declared) => {
                let value = self.named_function(declared.function, Some(text(declared.name.name.bytes())));
                self.bind(declared.name, Some(value));
            }
            StatementView::FunctionDeclaration(declared) => self.function_declaration(declared.name, declared.function),
            StatementView::Assign(assign) => {
                let values: Vec<Expr> = assign.values.iter().map(|value| self.expr(*value)).collect();
                for (place, var) in assign.vars.iter().enumerate() {
                    self.assign(*var, values.get(place));
                }
            }
            StatementView::CompoundAssign(assign) => {
                self.expr(assign.value);
                self.assign(assign.var, None);
            }
            StatementView::Expression(expression) => drop(self.expr(expression.expr)),
            StatementView::Return(returned) => {
                let values: Vec<Expr> = returned.expressions.iter().map(|value| self.expr(*value)).collect();
                if self.function == 0 {
                    self.tree.returned = values.into_iter().next();
                }
            }
            StatementView::If(choice) => {
                self.expr(choice.condition);
                self.block(choice.then_body);
                if let Some(other) = choice.else_body {
                    self.statement(other);
                }
            }
            StatementView::While(repeated) => {
                self.expr(repeated.condition);
                self.block(repeated.body);
            }
            StatementView::Repeat(repeated) => {
                self.block(repeated.body);
                self.expr(repeated.condition);
            }
            StatementView::NumericFor(count) => {
                for bound in [Some(count.start), Some(count.limit), count.step].into_iter().flatten() {
                    self.expr(bound);
                }
                self.block(count.body);
            }
            StatementView::GenericFor(walked) => {
                let values: Vec<Expr> = walked.values.iter().map(|value| self.expr(*value)).collect();
                if let [over] = values.as_slice() {
                    self.tree.loops.push(Loop { over: over.guess.clone(), at: over.at });
                }
                self.block(walked.body);
            }
            StatementView::Error(broken) => {
                for expression in broken.expressions {
                    self.expr(*expression);
                }
                for statement in broken.statements {
                    self.statement(*statement);
                }
            }
            // Types are for the type checker; classes and declarations are no part of runbooks.
            _ => {}
        }
    }

    fn local(&mut self, bindings: &[&Local<'_>], values: &[Expression<'_>]) {
        let mut values: Vec<Option<Expr>> = match (bindings, values) {
            ([only], [value]) if value.as_function().is_some() => {
                vec![Some(self.named_function(*value, Some(text(only.name.bytes()))))]
            }
            _ => values.iter().map(|value| Some(self.expr(*value))).collect(),
        };
        values.resize(bindings.len(), None);
        for (local, value) in bindings.iter().zip(values) {
            self.bind(local, value);
        }
    }

    fn bind(&mut self, local: &Local<'_>, value: Option<Expr>) {
        let fields = match value.as_ref().map(|value| &value.shape) {
            Some(Shape::Table(items)) => items.iter().filter_map(|item| Some((item.key.clone()?, item.value.clone()))).collect(),
            _ => std::collections::BTreeMap::new(),
        };
        let says = local.annotation.and_then(|annotation| annotated(&annotation));
        self.tree.locals.insert(id(local), Bound { value, fields, set_again: false, says });
    }

    /// `function nodes.rolling(…)`.
    fn function_declaration(&mut self, name: Expression<'_>, function: Expression<'_>) {
        match name.kind() {
            ExpressionKind::Global(global) => {
                self.tree.assigned.push(Assigned { name: text(global.bytes()), at: name.location(), function: true });
                self.named_function(function, Some(text(global.bytes())));
            }
            ExpressionKind::IndexName { expr, index, .. } => {
                let value = self.named_function(function, Some(text(index.bytes())));
                match expr.kind() {
                    ExpressionKind::Local { local, .. } => {
                        if let Some(bound) = self.tree.locals.get_mut(&id(local)) {
                            bound.fields.insert(text(index.bytes()), value);
                        }
                    }
                    _ => drop(self.expr(expr)),
                }
            }
            _ => {
                self.named_function(function, None);
            }
        }
    }

    fn assign(&mut self, var: Expression<'_>, value: Option<&Expr>) {
        match var.kind() {
            ExpressionKind::Local { local, .. } => {
                if let Some(bound) = self.tree.locals.get_mut(&id(local)) {
                    bound.set_again = true;
                }
            }
            ExpressionKind::Global(global) => {
                let function = value.is_some_and(|value| matches!(value.shape, Shape::Function(_)));
                self.tree.assigned.push(Assigned { name: text(global.bytes()), at: var.location(), function });
            }
            ExpressionKind::IndexName { expr, index, .. } => match (expr.kind(), value) {
                (ExpressionKind::Local { local, .. }, Some(value)) => {
                    if let Some(bound) = self.tree.locals.get_mut(&id(local)) {
                        bound.fields.insert(text(index.bytes()), value.clone());
                    }
                }
                _ => drop(self.expr(expr)),
            },
            _ => drop(self.expr(var)),
        }
    }

    fn named_function(&mut self, expression: Expression<'_>, name: Option<String>) -> Expr {
        let Some(function) = expression.as_function() else { return self.expr(expression) };
        let own = self.tree.functions.len();
        self.tree.functions.push(Function { name, parent: Some(self.function), ..Function::default() });
        let outer = std::mem::replace(&mut self.function, own);
        for parameter in function.args {
            self.bind(parameter, None);
        }
        self.block(function.body);
        self.function = outer;
        Expr { at: expression.location(), shape: Shape::Function(own), guess: Guess::Unknown }
    }

    fn mention(&mut self, target: Target, at: Location, call: Option<usize>) {
        if let Some(function) = self.tree.functions.get_mut(self.function) {
            function.mentions.push(Mention { target, at, call });
        }
    }

    /// What a name stands for, and where the part of it is that a message is about.
    fn target(&self, expression: Expression<'_>) -> Option<(Target, Location)> {
        match expression.kind() {
            ExpressionKind::Global(name) => Some((Target::Global(text(name.bytes())), expression.location())),
            ExpressionKind::Local { local, .. } => Some((Target::Local(id(local)), expression.location())),
            ExpressionKind::IndexName { expr, index, .. } => match expr.kind() {
                ExpressionKind::Global(family) => Some((Target::Member(text(family.bytes()), text(index.bytes())), expression.location())),
                ExpressionKind::Local { local, .. } => Some((Target::Field(id(local), text(index.bytes())), expression.location())),
                _ => None,
            },
            ExpressionKind::Grouped(inner) => self.target(inner),
            _ => None,
        }
    }

    fn expr(&mut self, expression: Expression<'_>) -> Expr {
        let at = expression.location();
        let made = |shape, guess| Expr { at, shape, guess };
        match expression.kind() {
            ExpressionKind::Nil => made(Shape::Nil, Guess::Unknown),
            ExpressionKind::Boolean(value) => made(Shape::Boolean(value), Guess::Unknown),
            ExpressionKind::Number { value, .. } => made(Shape::Number(value), Guess::Is(Ty::Number)),
            ExpressionKind::String { value, .. } => made(Shape::Text(text(value.as_bytes())), Guess::Is(Ty::Text)),
            ExpressionKind::InterpString { expressions, .. } => {
                for part in expressions {
                    self.expr(*part);
                }
                made(Shape::Other, Guess::Is(Ty::Text))
            }
            ExpressionKind::FunctionLiteral(_) => self.named_function(expression, None),
            ExpressionKind::Grouped(inner) => self.expr(inner),
            ExpressionKind::TypeAssertion { expr, .. } => self.expr(expr),
            ExpressionKind::Table { items } => self.table(at, items),
            ExpressionKind::If { condition, then_expression, else_expression, .. } => {
                self.expr(condition);
                let (left, right) = (self.expr(then_expression), self.expr(else_expression));
                made(Shape::Other, if left.guess == right.guess { left.guess } else { Guess::Unknown })
            }
            ExpressionKind::Unary { rhs, .. } => {
                self.expr(rhs);
                made(Shape::Other, Guess::Unknown)
            }
            ExpressionKind::Binary { lhs, op, rhs } => {
                let guess = self.binary(at, lhs, op, rhs);
                made(Shape::Other, guess)
            }
            ExpressionKind::Call { func, args, self_call, .. } => self.call(at, func, args, self_call),
            ExpressionKind::Global(_)
            | ExpressionKind::Local { .. }
            | ExpressionKind::IndexName { .. }
            | ExpressionKind::IndexExpr { .. } => self.name(expression),
            ExpressionKind::Error { expressions, .. } => {
                for part in expressions {
                    self.expr(*part);
                }
                made(Shape::Other, Guess::Unknown)
            }
            _ => made(Shape::Other, Guess::Unknown),
        }
    }

    fn binary(&mut self, at: Location, lhs: Expression<'_>, op: BinaryOp, rhs: Expression<'_>) -> Guess {
        let (left, right) = (self.expr(lhs), self.expr(rhs));
        match op {
            BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
                self.tree.compares.push(Compare { op: op.symbol(), sides: [left.guess, right.guess], at });
                Guess::Unknown
            }
            BinaryOp::Concat => Guess::Is(Ty::Text),
            BinaryOp::Or if left.guess == right.guess => left.guess,
            _ => Guess::Unknown,
        }
    }

    fn table(&mut self, at: Location, items: &[TableItem<'_>]) -> Expr {
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            let (key, keyed, place, value) = match item {
                TableItem::List { value } => (None, false, value.location(), *value),
                TableItem::Record { key, value } => (key.as_string().map(|key| text(key.value.as_bytes())), true, key.location(), *value),
                TableItem::General { key, value } => {
                    let plain = self.expr(*key);
                    let name = if let Shape::Text(name) = plain.shape { Some(name) } else { None };
                    (name, true, key.location(), *value)
                }
            };
            let value = match (&key, value.as_function()) {
                (Some(name), Some(_)) => self.named_function(value, Some(name.clone())),
                _ => self.expr(value),
            };
            read.push(Item { key, at: place, keyed, value });
        }
        let ty = match read.first() {
            None => Guess::Unknown,
            Some(_) if read.iter().all(|item| item.keyed) => Guess::Is(Ty::Map),
            Some(_) if read.iter().all(|item| !item.keyed) => Guess::Is(Ty::List),
            Some(_) => Guess::Unknown,
        };
        Expr { at, shape: Shape::Table(read), guess: ty }
    }

    /// A name that is read.
    fn name(&mut self, expression: Expression<'_>) -> Expr {
        let at = expression.location();
        match expression.kind() {
            ExpressionKind::IndexName { expr, index, index_location, .. } => {
                let field = text(index.bytes());
                if let ExpressionKind::Global(family) = expr.kind() {
                    let family = text(family.bytes());
                    if family == "params" {
                        return self.parameter(at, Some(field), index_location);
                    }
                    let target = Target::Member(family, field);
                    self.mention(target.clone(), at, None);
                    return Expr { at, shape: Shape::Name(target), guess: Guess::Unknown };
                }
                if let Some((target, _)) = self.target(expression) {
                    let of = self.guess_of(expr);
                    self.mention(target.clone(), at, None);
                    return Expr { at, shape: Shape::Name(target), guess: field_of(&of, &field) };
                }
                let of = self.expr(expr);
                Expr { at, shape: Shape::Other, guess: field_of(&of.guess, &field) }
            }
            ExpressionKind::IndexExpr { expr, index } => self.indexed(at, expr, index),
            _ => {
                let Some((target, _)) = self.target(expression) else {
                    return Expr { at, shape: Shape::Other, guess: Guess::Unknown };
                };
                if target == Target::Global("params".to_owned()) {
                    return self.parameter(at, None, at);
                }
                let guess = self.guess_of(expression);
                self.mention(target.clone(), at, None);
                Expr { at, shape: Shape::Name(target), guess }
            }
        }
    }

    fn indexed(&mut self, at: Location, expr: Expression<'_>, index: Expression<'_>) -> Expr {
        let key = self.expr(index);
        let name = if let Shape::Text(name) = &key.shape { Some(name.clone()) } else { None };
        if let ExpressionKind::Global(family) = expr.kind()
            && family == "params"
        {
            return self.parameter(at, name, key.at);
        }
        let of = self.expr(expr);
        let guess = match (&name, &of.guess) {
            (_, Guess::Is(Ty::Images)) => Guess::Is(Ty::Image),
            (Some(name), of) => field_of(of, name),
            (None, _) => Guess::Unknown,
        };
        Expr { at, shape: Shape::Other, guess }
    }

    fn parameter(&mut self, at: Location, name: Option<String>, place: Location) -> Expr {
        self.mention(Target::Global("params".to_owned()), at, None);
        let guess = name.as_ref().map_or(Guess::Is(Ty::Map), |name| Guess::Param(name.clone(), Vec::new()));
        self.tree.params.push((name, place));
        Expr { at, shape: Shape::Other, guess }
    }

    /// What is known of the type of a name.
    fn guess_of(&self, expression: Expression<'_>) -> Guess {
        match expression.kind() {
            ExpressionKind::Local { local, .. } => match self.tree.locals.get(&id(local)) {
                Some(Bound { says: Some(ty), .. }) => Guess::Is(*ty),
                Some(bound) if !bound.set_again => bound.value.as_ref().map_or(Guess::Unknown, |value| value.guess.clone()),
                _ => Guess::Unknown,
            },
            _ => Guess::Unknown,
        }
    }

    fn call(&mut self, at: Location, func: Expression<'_>, args: &[Expression<'_>], method: bool) -> Expr {
        if let Some(declared) = self.declaration(func, args) {
            return declared;
        }
        let Some((target, place)) = self.target(func) else {
            self.expr(func);
            for argument in args {
                self.expr(*argument);
            }
            return Expr { at, shape: Shape::Other, guess: Guess::Unknown };
        };
        if method {
            // `object:method(…)` reads the object; what the method is nobody can say here.
            if let ExpressionKind::IndexName { expr, .. } = func.kind() {
                self.expr(expr);
            }
            for argument in args {
                self.expr(*argument);
            }
            return Expr { at, shape: Shape::Other, guess: Guess::Unknown };
        }
        // The place of the call is kept for it before its arguments, which have calls of their own.
        let own = self.tree.calls.len();
        self.tree.calls.push(Call { target: target.clone(), at: place, arguments: Vec::new(), open: false });
        self.mention(target.clone(), place, Some(own));
        let open = args.last().is_some_and(|last| matches!(last.kind(), ExpressionKind::Call { .. } | ExpressionKind::Varargs));
        let mut arguments: Vec<Expr> = args.iter().map(|argument| self.expr(*argument)).collect();
        self.set_apart(&target, &arguments);
        let guess = given(&target, &arguments);
        let shape = match (&target, arguments.first().map(|first| &first.shape)) {
            (Target::Global(word), Some(Shape::Text(name))) if word == "require" => {
                let name_at = arguments.first().map_or(place, |first| first.at);
                self.tree.requires.push(Require { name: name.clone(), at: name_at });
                Shape::Require(name.clone())
            }
            _ => Shape::Call(target.clone()),
        };
        if let Some(call) = self.tree.calls.get_mut(own) {
            let skipped = match &target {
                Target::Global(word) if word == "pcall" => 1,
                Target::Global(word) if word == "xpcall" => 2,
                _ => 0,
            };
            if skipped > 0
                && let Some(Expr { shape: Shape::Name(inner), at, .. }) = arguments.first()
            {
                (call.target, call.at) = (inner.clone(), *at);
                arguments.drain(..skipped.min(arguments.len()));
            }
            (call.arguments, call.open) = (arguments, open);
        }
        Expr { at, shape, guess }
    }

    /// Functions that stand for something outside of the run are not part of the function around them.
    fn set_apart(&mut self, target: &Target, arguments: &[Expr]) {
        if *target != Target::Global("manual".to_owned()) {
            return;
        }
        let Some(Expr { shape: Shape::Table(options), .. }) = arguments.last() else { return };
        for option in options.iter().filter(|option| option.key.as_deref() == Some("pretend")) {
            if let Shape::Function(function) = option.value.shape
                && let Some(function) = self.tree.functions.get_mut(function)
            {
                function.apart = true;
            }
        }
    }

    /// `step "id" { … }`, `runbook { … }`.
    fn declaration(&mut self, func: Expression<'_>, args: &[Expression<'_>]) -> Option<Expr> {
        let word_of = |expression: Expression<'_>| match expression.kind() {
            ExpressionKind::Global(name) => WORDS.iter().find(|word| name == *word.name).map(|word| (word, expression.location())),
            _ => None,
        };
        let (word, begin, named) = match func.kind() {
            ExpressionKind::Call { func: inner, args: names, .. } => {
                let (word, at) = word_of(inner).filter(|(word, _)| word.id)?;
                (word, at, names.first().copied())
            }
            _ => {
                let (word, at) = word_of(func).filter(|(word, _)| !word.id)?;
                (word, at, None)
            }
        };
        self.mention(Target::Global(word.name.to_owned()), begin, None);
        let named = named.map(|name| self.expr(name));
        let at = named.as_ref().map_or(begin, |name| Location::new(begin.begin, name.at.end));
        let body = args.first().map(|body| self.expr(*body));
        let items = match body.map(|body| body.shape) {
            Some(Shape::Table(items)) => Some(items),
            _ => None,
        };
        for item in items.iter().flatten() {
            if let Shape::Function(function) = item.value.shape
                && let Some(function) = self.tree.functions.get_mut(function)
            {
                function.apart = true;
            }
        }
        let id = named.and_then(|name| if let Shape::Text(id) = name.shape { Some(id) } else { None });
        self.tree.declarations.push(Declaration { word: word.name.to_owned(), id, at, items });
        Some(Expr { at, shape: Shape::Other, guess: Guess::Unknown })
    }
}

/// What is known of a field of something.
fn field_of(of: &Guess, field: &str) -> Guess {
    match of.field(field) {
        Guess::Unknown if MAPS.contains(&field) => Guess::Is(Ty::Map),
        known => known,
    }
}

/// What is known of what a call gives.
fn given(target: &Target, arguments: &[Expr]) -> Guess {
    match target {
        Target::Global(word) => match word.as_str() {
            "images" => Guess::Is(Ty::Images),
            "list" | "events" | "logs" | "rollout_history" | "versions" => Guess::Is(Ty::List),
            "tostring" => Guess::Is(Ty::Text),
            // `at(object, { "metadata", "labels" }, …)`.
            "at" => match arguments.get(1).map(|path| &path.shape) {
                Some(Shape::Table(path)) => match path.last().map(|last| &last.value.shape) {
                    Some(Shape::Text(last)) if MAPS.contains(&last.as_str()) => Guess::Is(Ty::Map),
                    _ => Guess::Unknown,
                },
                _ => Guess::Unknown,
            },
            made => Ty::made_by(made).map_or(Guess::Unknown, Guess::Is),
        },
        Target::Member(family, name) if family == "helm" && name == "values" => Guess::Is(Ty::Map),
        _ => Guess::Unknown,
    }
}

/// What an annotation says, as far as rules need it.
fn annotated(annotation: &Type<'_>) -> Option<Ty> {
    match annotation.kind() {
        TypeKind::Reference { prefix: None, name, .. } => match name.bytes() {
            b"string" => Some(Ty::Text),
            b"number" => Some(Ty::Number),
            b"Version" => Some(Ty::Version),
            b"Image" => Some(Ty::Image),
            b"Duration" => Some(Ty::Duration),
            b"Quantity" => Some(Ty::Quantity),
            _ => None,
        },
        TypeKind::Table { props: [], indexer: Some(indexer) } => match indexer.index_type.kind() {
            TypeKind::Reference { name, .. } if name == "string" => Some(Ty::Map),
            TypeKind::Reference { name, .. } if name == "number" => Some(Ty::List),
            _ => None,
        },
        TypeKind::Table { props, indexer: None } if !props.is_empty() => Some(Ty::Map),
        TypeKind::Group { ty } => annotated(&ty),
        _ => None,
    }
}
