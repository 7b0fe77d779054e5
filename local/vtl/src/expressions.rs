//! Expressions: what stands in conditions, arguments and `#set`.

use super::Error;
use super::ast::{Expression, Operator};
use super::parser::{Parser, parse_nested};

/// Operators by how strongly they bind, the weakest first; of those that begin alike the longest first.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::NotEqual), ("eq", Operator::Equal), ("ne", Operator::NotEqual)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expression, Error> {
        self.deeper(|parser| parser.binary(0))
    }

    fn binary(&mut self, level: usize) -> Result<Expression, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            self.skip_space();
            let line = self.line();
            let Some((token, operator)) = operators.iter().find(|(token, _)| self.is_next(token)) else {
                return Ok(left);
            };
            self.skip(token.len());
            let right = Box::new(self.binary(level + 1)?);
            left = Expression::Binary { operator: *operator, left: Box::new(left), right, line };
        }
    }

    /// Whether an operator or a word is next; a word ends where no letter follows.
    fn is_next(&self, token: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(token) else { return false };
        let is_word = token.starts_with(|c: char| c.is_ascii_alphabetic());
        !(is_word && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    }

    fn unary(&mut self) -> Result<Expression, Error> {
        self.skip_space();
        if self.is_next("not") {
            self.skip("not".len());
        } else if !(self.rest().starts_with('!') && self.take("!")) {
            return self.primary();
        }
        Ok(Expression::Not(Box::new(self.deeper(Self::unary)?)))
    }

    fn primary(&mut self) -> Result<Expression, Error> {
        let first = self.rest().chars().next().ok_or_else(|| self.fault("a value is missing at the end"))?;
        match first {
            '$' => match self.reference()? {
                Some((reference, _)) => Ok(Expression::Reference(reference)),
                None => Err(self.fault("`$` is no variable here")),
            },
            '\'' => self.quoted('\'').map(|(text, _)| Expression::Text(text)),
            '"' => self.interpolated(),
            '(' => {
                self.skip(1);
                let inner = self.expression()?;
                self.skip_space();
                if self.take(")") { Ok(inner) } else { Err(self.fault("a parenthesis is not closed")) }
            }
            '[' => self.list_or_range(),
            '{' => self.map(),
            '-' => {
                self.skip(1);
                self.skip_space();
                Ok(Expression::Negative(Box::new(self.deeper(Self::primary)?)))
            }
            digit if digit.is_ascii_digit() => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Expression, Error> {
        for (word, value) in
            [("true", Expression::Bool(true)), ("false", Expression::Bool(false)), ("null", Expression::Null)]
        {
            if self.is_next(word) {
                self.skip(word.len());
                return Ok(value);
            }
        }
        let shown: String = self.rest().chars().take(12).take_while(|c| !c.is_whitespace()).collect();
        Err(self.fault(format!("`{shown}` is no value")))
    }

    fn number(&mut self) -> Result<Expression, Error> {
        let rest = self.rest();
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let whole = digits(rest);
        let fraction = rest[whole..].strip_prefix('.').map_or(0, digits);
        let length = if fraction > 0 { whole + 1 + fraction } else { whole };
        self.skip(length);
        let text = &rest[..length];
        let number = match fraction {
            0 => text.parse().map(Expression::Integer).ok(),
            _ => text.parse().map(Expression::Float).ok(),
        };
        number.ok_or_else(|| self.fault(format!("`{text}` is too large a number")))
    }

    /// A text in quotes, and the line where it begins. A quote within is written twice.
    fn quoted(&mut self, quote: char) -> Result<(String, usize), Error> {
        let line = self.line();
        self.skip(1);
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(quote) else {
                return Err(Error::new(line, format!("a text is not closed with `{quote}`")));
            };
            text.push_str(&rest[..length]);
            self.skip(length + 1);
            if !self.rest().starts_with(quote) {
                return Ok((text, line));
            }
            text.push(quote);
            self.skip(1);
        }
    }

    fn interpolated(&mut self) -> Result<Expression, Error> {
        let (text, line) = self.quoted('"')?;
        if !text.contains(['$', '#']) {
            return Ok(Expression::Text(text));
        }
        parse_nested(&text, line, self.depth()).map(Expression::Template)
    }

    fn list_or_range(&mut self) -> Result<Expression, Error> {
        self.skip(1);
        self.skip_space();
        if self.take("]") {
            return Ok(Expression::List(Vec::new()));
        }
        let first = self.expression()?;
        self.skip_space();
        if self.take("..") {
            let last = self.expression()?;
            self.skip_space();
            return match self.take("]") {
                true => Ok(Expression::Range(Box::new(first), Box::new(last))),
                false => Err(self.fault("a range is not closed with `]`")),
            };
        }
        let mut items = vec![first];
        if self.take(",") {
            items.extend(self.list("]", "a list is not closed with `]`")?);
        } else if !self.take("]") {
            return Err(self.fault("a list is not closed with `]`"));
        }
        Ok(Expression::List(items))
    }

    fn map(&mut self) -> Result<Expression, Error> {
        self.skip(1);
        let mut entries = Vec::new();
        loop {
            self.skip_space();
            if self.take("}") {
                return Ok(Expression::Map(entries));
            }
            if !entries.is_empty() && !self.take(",") {
                return Err(self.fault("a map is not closed with `}`"));
            }
            let key = self.expression()?;
            self.skip_space();
            if !self.take(":") {
                return Err(self.fault("a map needs `:` between key and value"));
            }
            entries.push((key, self.expression()?));
        }
    }
}
