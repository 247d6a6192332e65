"""Access control: the language of rules, and what rules decide. Pure; where tokens come from is `server/acl/`."""
