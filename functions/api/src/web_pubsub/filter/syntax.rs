//! From text to a tree, in which names are not looked at yet.

/// How deep parentheses, functions and `not` may be nested: Azure's own bound, and what keeps the stack small.
const DEEPEST: usize = 100;

/// A part of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Name(&'a str),
    Text(String),
    Number(i64),
    Not(Box<Self>),
    /// Two or more.
    Or(Vec<Self>),
    /// Two or more.
    And(Vec<Self>),
    Compare(Box<Self>, Comparison, Box<Self>),
    In(Box<Self>, Box<Self>),
    List(Vec<Self>),
    Call(&'a str, Vec<Self>),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }
}

/// Where the text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSyntax {
    /// Something stands where it may not; counted in characters, behind it.
    #[error("Syntax error at position {at} in '{filter}'")]
    At { at: usize, filter: String },
    #[error("a text does not end; close it with ', and write a ' in it twice")]
    OpenText,
    #[error("the number {0} is not one from -9223372036854775808 to 9223372036854775807")]
    Number(String),
    #[error("it is nested deeper than {DEEPEST}")]
    Deep,
}

#[derive(Debug, Clone, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Text(String),
    Number(i64),
    Open,
    Close,
    Comma,
    /// Nothing that a filter has.
    Other,
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Behind the token, in bytes.
    at: usize,
    token: Token<'a>,
    depth: usize,
    /// Comparisons of what was compared already, in the whole filter: each lies one deeper.
    chained: usize,
}

pub(super) fn parse(text: &str) -> Result<Tree<'_>, BadSyntax> {
    let mut parser = Parser { text, at: 0, token: Token::End, depth: 0, chained: 0 };
    parser.advance()?;
    let tree = parser.any()?;
    if parser.token == Token::End { Ok(tree) } else { Err(parser.fault()) }
}

impl<'a> Parser<'a> {
    fn fault(&self) -> BadSyntax {
        let at = self.text[..self.at].chars().count();
        BadSyntax::At { at, filter: self.text.chars().take(200).collect() }
    }

    /// Reads the next token.
    fn advance(&mut self) -> Result<(), BadSyntax> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t']);
        let start = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            (self.at, self.token) = (self.text.len(), Token::End);
            return Ok(());
        };
        let (length, token) = match first {
            '(' => (1, Token::Open),
            ')' => (1, Token::Close),
            ',' => (1, Token::Comma),
            '\'' => quoted(rest)?,
            '-' | '0'..='9' => number(rest)?,
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let length = length.unwrap_or(rest.len());
                (length, Token::Word(&rest[..length]))
            }
            other => (other.len_utf8(), Token::Other),
        };
        (self.at, self.token) = (start + length, token);
        Ok(())
    }

    fn expect(&mut self, token: &Token<'_>) -> Result<(), BadSyntax> {
        if self.token == *token { self.advance() } else { Err(self.fault()) }
    }

    /// Takes a word, if it is the next.
    fn takes(&mut self, word: &str) -> Result<bool, BadSyntax> {
        let is_next = self.token == Token::Word(word);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, BadSyntax>) -> Result<T, BadSyntax> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(BadSyntax::Deep);
        }
        let tree = read(self);
        self.depth -= 1;
        tree
    }

    /// Conditions of which one is to hold.
    fn any(&mut self) -> Result<Tree<'a>, BadSyntax> {
        let first = self.all()?;
        let mut parts = vec![first];
        while self.takes("or")? {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Tree::Or))
    }

    /// Conditions that are all to hold.
    fn all(&mut self) -> Result<Tree<'a>, BadSyntax> {
        let first = self.comparison()?;
        let mut parts = vec![first];
        while self.takes("and")? {
            parts.push(self.comparison()?);
        }
        Ok(one_or(parts, Tree::And))
    }

    fn comparison(&mut self) -> Result<Tree<'a>, BadSyntax> {
        let mut left = self.unary()?;
        // From the left, as all operators of the same rank.
        let mut is_compared = false;
        loop {
            let Token::Word(word) = self.token else { return Ok(left) };
            left = match Comparison::of(word) {
                Some(comparison) => {
                    self.advance()?;
                    Tree::Compare(Box::new(left), comparison, Box::new(self.unary()?))
                }
                None if word == "in" => {
                    self.advance()?;
                    Tree::In(Box::new(left), Box::new(self.set()?))
                }
                None => return Ok(left),
            };
            self.chained += usize::from(is_compared);
            if self.chained > DEEPEST {
                return Err(BadSyntax::Deep);
            }
            is_compared = true;
        }
    }

    /// What stands behind `in`: values in parentheses, or a name.
    fn set(&mut self) -> Result<Tree<'a>, BadSyntax> {
        if self.token != Token::Open {
            return self.unary();
        }
        self.deeper(|parser| Ok(Tree::List(parser.arguments()?)))
    }

    fn unary(&mut self) -> Result<Tree<'a>, BadSyntax> {
        match self.takes("not")? {
            true => self.deeper(|parser| Ok(Tree::Not(Box::new(parser.unary()?)))),
            false => self.primary(),
        }
    }

    fn primary(&mut self) -> Result<Tree<'a>, BadSyntax> {
        match std::mem::replace(&mut self.token, Token::Other) {
            Token::Text(text) => self.advance().map(|()| Tree::Text(text)),
            Token::Number(number) => self.advance().map(|()| Tree::Number(number)),
            Token::Open => {
                self.advance()?;
                let tree = self.deeper(Self::any)?;
                self.expect(&Token::Close)?;
                Ok(tree)
            }
            Token::Word(word) => {
                self.advance()?;
                match self.token {
                    Token::Open => self.deeper(|parser| Ok(Tree::Call(word, parser.arguments()?))),
                    _ => Ok(Tree::Name(word)),
                }
            }
            _ => Err(self.fault()),
        }
    }

    /// One or more parts in parentheses.
    fn arguments(&mut self) -> Result<Vec<Tree<'a>>, BadSyntax> {
        self.expect(&Token::Open)?;
        let mut arguments = vec![self.any()?];
        while self.token == Token::Comma {
            self.advance()?;
            arguments.push(self.any()?);
        }
        self.expect(&Token::Close)?;
        Ok(arguments)
    }
}

fn one_or<'a>(mut parts: Vec<Tree<'a>>, several: fn(Vec<Tree<'a>>) -> Tree<'a>) -> Tree<'a> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => several(parts.into_iter().chain(last).collect()),
    }
}

/// A text in quotation marks: how long it is with them, and what it says.
fn quoted(rest: &str) -> Result<(usize, Token<'_>), BadSyntax> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\'' && letters.next_if(|(_, next)| *next == '\'').is_none() {
            return Ok((at + 1, Token::Text(text)));
        }
        text.push(letter);
    }
    Err(BadSyntax::OpenText)
}

fn number(rest: &str) -> Result<(usize, Token<'_>), BadSyntax> {
    let digits = rest[1..].find(|letter: char| !letter.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
    match rest[..digits].parse() {
        Ok(number) => Ok((digits, Token::Number(number))),
        Err(_) => Err(BadSyntax::Number(rest[..digits].chars().take(30).collect())),
    }
}
