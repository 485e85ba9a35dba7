"""Networks of FRR routers: their interfaces and addresses, what they are told, and how they are asked."""
