"""Logging in with a credential from elsewhere: how each type of auth method is configured, and how it verifies.

`verifying.Verifier` is what the endpoints call; it is a thin driver around pure modules: `jwt_settings`, `jwt`,
`claims`, `kubernetes` and `aws_iam` say what to ask over the network and judge what came back, `identity` and
`binding` turn a verified credential into roles and identities of a token.
"""
