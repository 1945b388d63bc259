//! An order: as it is asked for, as it is checked, as it is priced.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use contracts::{Money, OrderCreated};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use service_runtime::Problem;
use service_runtime::http::Json;
use uuid::Uuid;

use crate::contact::{EmailAddress, PhoneNumber};

mod fingerprint;

pub use fingerprint::Fingerprint;

const MOST_LINES: usize = 100;
const MOST_PIECES: i64 = 1000;

/// The body of `POST /api/order`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderRequest {
    user_id: i64,
    email: String,
    phone: String,
    items: Vec<Object<LineRequest>>,
    #[serde(default, rename = "total")]
    _total: Option<Ignored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineRequest {
    product_id: i64,
    quantity: i64,
    #[serde(default, rename = "price")]
    _price: Option<Ignored>,
}

/// A number that clients may send and nobody reads.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|_| Self)
    }
}

/// A JSON object. Derived code would also take an array of the fields' values in the order of their declaration.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// An order that passed every check that needs no catalogue.
#[derive(Clone, PartialEq)]
pub struct NewOrder {
    user_id: i64,
    email: EmailAddress,
    phone: PhoneNumber,
    lines: Vec<NewLine>,
}

#[derive(Clone, Debug, PartialEq)]
struct NewLine {
    product_id: i32,
    quantity: i32,
    /// Where the product stood first in the request, for refusals.
    item: usize,
}

/// An order with the catalogue's prices and an id.
#[derive(Clone, PartialEq)]
pub struct PricedOrder {
    /// UUIDv7, made when the order was priced.
    pub id: Uuid,
    /// Who orders.
    pub user_id: i64,
    /// Where the confirmation goes.
    pub email: EmailAddress,
    /// Where the text message goes.
    pub phone: PhoneNumber,
    /// One line per product, in the order of the request.
    pub lines: Vec<OrderLine>,
    /// Sum over all lines.
    pub total: Money,
}

pub use contracts::OrderLine;

impl OrderRequest {
    /// Collects every fault, so that a caller mends them all at once.
    fn check(self) -> Result<NewOrder, Problem> {
        let mut faults = Faults::default();
        if self.user_id < 1 {
            faults.add("user_id", "must be 1 or more");
        }
        let email = EmailAddress::parse(&self.email);
        if email.is_none() {
            faults.add("email", EmailAddress::FORM);
        }
        let phone = PhoneNumber::parse(&self.phone);
        if phone.is_none() {
            faults.add("phone", PhoneNumber::FORM);
        }
        let lines = merge(&self.items, &mut faults);
        match (faults.into_problem(), email, phone) {
            (None, Some(email), Some(phone)) => Ok(NewOrder { user_id: self.user_id, email, phone, lines }),
            (problem, ..) => Err(problem.unwrap_or_else(Problem::internal)),
        }
    }
}

/// One line per product. A product that is named twice is ordered as many times as the two say together.
fn merge(items: &[Object<LineRequest>], faults: &mut Faults) -> Vec<NewLine> {
    if !(1..=MOST_LINES).contains(&items.len()) {
        faults.add("items", format!("must have 1 to {MOST_LINES} lines"));
        return Vec::new();
    }
    let mut lines: Vec<NewLine> = Vec::with_capacity(items.len());
    let mut places = HashMap::new();
    for (item, Object(LineRequest { product_id, quantity, .. })) in items.iter().enumerate() {
        let product = i32::try_from(*product_id).ok().filter(|id| *id >= 1);
        if product.is_none() {
            faults.add(&format!("items[{item}].product_id"), "is not a product");
        }
        let pieces = i32::try_from(*quantity).ok().filter(|_| (1..=MOST_PIECES).contains(quantity));
        if pieces.is_none() {
            faults.add(&format!("items[{item}].quantity"), format!("must be 1 to {MOST_PIECES}"));
        }
        let (Some(product_id), Some(quantity)) = (product, pieces) else { continue };
        let Some(place) = places.get(&product_id).copied() else {
            places.insert(product_id, lines.len());
            lines.push(NewLine { product_id, quantity, item });
            continue;
        };
        let line: &mut NewLine = &mut lines[place];
        // Cannot overflow: 100 lines of 1000 pieces.
        line.quantity += quantity;
        if i64::from(line.quantity) > MOST_PIECES {
            let detail =
                format!("product {product_id} comes to {} pieces, the most is {MOST_PIECES}", line.quantity);
            faults.add(&format!("items[{item}].quantity"), detail);
        }
    }
    lines
}

/// Refusals with 422, each with the name of its field.
#[derive(Default)]
struct Faults(Vec<(String, String)>);

impl Faults {
    fn add(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push((field.to_owned(), detail.into()));
    }

    fn into_problem(self) -> Option<Problem> {
        let (field, detail) = self.0.first()?;
        let more = match self.0.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{field} {detail}{more}"));
        Some(self.0.iter().fold(problem, |problem, (field, detail)| problem.field(field, detail)))
    }
}

impl NewOrder {
    /// The products, each once.
    pub fn product_ids(&self) -> Vec<i32> {
        self.lines.iter().map(|line| line.product_id).collect()
    }

    /// Prices the order from the catalogue and gives it an id. A product that is not in `catalogue` is refused by the name of its
    /// field.
    pub fn price(self, catalogue: &HashMap<i32, Money>) -> Result<PricedOrder, Problem> {
        let mut faults = Faults::default();
        let mut lines = Vec::with_capacity(self.lines.len());
        let mut total = Ok(Money::ZERO);
        for NewLine { product_id, quantity, item } in self.lines {
            let Some(unit_price) = catalogue.get(&product_id).copied() else {
                faults.add(&format!("items[{item}].product_id"), format!("there is no product {product_id}"));
                continue;
            };
            total = total.and_then(|sum| sum.checked_add(unit_price.checked_mul(quantity.into())?));
            lines.push(OrderLine { product_id, quantity, unit_price });
        }
        if total.is_err() {
            faults.add("items", "come to more than an order may cost");
        }
        match (faults.into_problem(), total) {
            (None, Ok(total)) => Ok(PricedOrder {
                id: Uuid::now_v7(),
                user_id: self.user_id,
                email: self.email,
                phone: self.phone,
                lines,
                total,
            }),
            (problem, _) => Err(problem.unwrap_or_else(Problem::internal)),
        }
    }
}

impl PricedOrder {
    /// What the event about this order says.
    pub fn to_event(&self) -> OrderCreated {
        OrderCreated {
            order_id: self.id,
            user_id: self.user_id,
            email: self.email.as_str().to_owned(),
            phone: self.phone.as_str().to_owned(),
            items: self.lines.clone(),
            total: self.total,
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for NewOrder {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(Object(order)) = Json::<Object<OrderRequest>>::from_request(request, state).await?;
        order.check()
    }
}

impl fmt::Debug for NewOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewOrder").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl fmt::Debug for PricedOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PricedOrder")
            .field("id", &self.id)
            .field("lines", &self.lines)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
