//! Where Microsoft's services are, and for what audience their tokens are, as settings of their own (wire.md 0).

/// A service whose tokens are good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    Graph,
    Exchange,
    Activity,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Service::Graph => "Microsoft Graph",
            Service::Exchange => "Exchange Online",
            Service::Activity => "the activity feed",
        })
    }
}

/// Base URLs without a slash at their end, and resources without `/.default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    pub login: String,
    pub graph: String,
    pub exchange: String,
    pub activity: String,
    pub graph_resource: String,
    pub exchange_resource: String,
    pub activity_resource: String,
}

impl Cloud {
    fn of(login: &str, graph: &str, exchange: &str, activity: &str) -> Cloud {
        let base = |host: &str| format!("https://{host}");
        Cloud {
            login: base(login),
            graph: base(graph),
            exchange: base(exchange),
            activity: base(activity),
            graph_resource: base(graph),
            exchange_resource: base(exchange),
            activity_resource: base(activity),
        }
    }
    pub fn global() -> Cloud {
        Cloud::of("login.microsoftonline.com", "graph.microsoft.com", "outlook.office365.com", "manage.office.com")
    }
    pub fn us_gov_high() -> Cloud {
        Cloud::of("login.microsoftonline.us", "graph.microsoft.us", "outlook.office365.us", "manage.office365.us")
    }
    pub fn us_dod() -> Cloud {
        Cloud::of(
            "login.microsoftonline.us",
            "dod-graph.microsoft.us",
            "outlook-dod.office365.us",
            "manage.protection.apps.mil",
        )
    }
    pub fn china() -> Cloud {
        Cloud::of(
            "login.partner.microsoftonline.cn",
            "microsoftgraph.chinacloudapi.cn",
            "partner.outlook.cn",
            "manage.office365.cn",
        )
    }
    /// `global`, `us-gov-high`, `us-dod`, `china`
    pub fn named(name: &str) -> Option<Cloud> {
        match name {
            "global" => Some(Cloud::global()),
            "us-gov-high" => Some(Cloud::us_gov_high()),
            "us-dod" => Some(Cloud::us_dod()),
            "china" => Some(Cloud::china()),
            _ => None,
        }
    }
    pub(crate) fn resource(&self, service: Service) -> &str {
        match service {
            Service::Graph => &self.graph_resource,
            Service::Exchange => &self.exchange_resource,
            Service::Activity => &self.activity_resource,
        }
    }
}
