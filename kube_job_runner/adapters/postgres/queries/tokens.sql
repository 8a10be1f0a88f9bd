-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: find_token
-- A token that may be used now.
SELECT {tokens.names} FROM tokens WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: add_token
-- Store a token once.
INSERT INTO tokens (token_hash, name, prefix, created_at, expires_at, revoked_at)
VALUES ($1, $2, $3, coalesce($4, now()), $5, $6)
ON CONFLICT (token_hash) DO NOTHING

-- name: list_tokens
-- All tokens, the newest first.
SELECT {tokens.names} FROM tokens ORDER BY created_at DESC, name

-- name: revoke_token
-- Revoke every token of a name.
UPDATE tokens SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL
