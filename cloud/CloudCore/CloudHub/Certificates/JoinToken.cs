using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>What a token with a good signature says.</summary>
/// <param name="Id">The claim <c>jti</c>; empty for KubeEdge's own form, which cannot be revoked.</param>
/// <param name="Node">The only node that may enrol with it; empty for any.</param>
internal sealed record TokenClaims(DateTimeOffset Expires, string Id = "", string Node = "");

/// <summary>The join token: <c>&lt;SHA-256 of the CA in hex&gt;.&lt;JWT&gt;</c>, the JWT with HS256, keyed with the CA's private key
/// (kubeedge-wire §2.7). Claims are <c>exp</c> and, for a token of <c>edgectl token create</c>, <c>jti</c> and perhaps <c>node</c>; the header
/// names the CA as <c>kid</c>, so that a token of another CA can be told from a forged one. A secret: it is never logged.</summary>
internal static class JoinToken
{
    private const int LengthMax = 4096;

    /// <summary>How a CA is named to people and in <c>kid</c>: the first 16 hex digits of the SHA-256 of its certificate.</summary>
    public static string AuthorityId(ReadOnlySpan<byte> certificateDer) => Convert.ToHexStringLower(SHA256.HashData(certificateDer))[..16];

    public static string Create(ReadOnlySpan<byte> certificateDer, ReadOnlySpan<byte> keyDer, TokenClaims claims)
    {
        var header = new JsonObject { ["alg"] = "HS256", ["typ"] = "JWT", ["kid"] = AuthorityId(certificateDer) };
        var body = new JsonObject { ["exp"] = claims.Expires.ToUnixTimeSeconds() };
        if (claims.Id.Length > 0)
            body["jti"] = claims.Id;
        if (claims.Node.Length > 0)
            body["node"] = claims.Node;
        var signed = $"{Part(header)}.{Part(body)}";
        var signature = HMACSHA256.HashData(keyDer, Encoding.ASCII.GetBytes(signed));
        return $"{Convert.ToHexStringLower(SHA256.HashData(certificateDer))}.{signed}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>A token in KubeEdge's own form: any node, no id.</summary>
    public static string Create(ReadOnlySpan<byte> certificateDer, ReadOnlySpan<byte> keyDer, DateTimeOffset expires)
        => Create(certificateDer, keyDer, new TokenClaims(expires));

    /// <summary>Checks the signature and reads the claims; null with the reason, which has none of the token's text, when it is not one of
    /// this CA. Whether it has expired is the caller's to judge.</summary>
    /// <param name="formerAuthorities">Ids of CAs that are trusted but no longer sign, for the reason.</param>
    public static TokenClaims? TryRead(
        string jwt, ReadOnlySpan<byte> keyDer, ReadOnlySpan<byte> certificateDer, IEnumerable<string> formerAuthorities, out string error)
    {
        const string Wrong = "the token was not made by this cloudcore; get one with 'edgectl gettoken'";
        error = "the token is too long";
        if (jwt.Length > LengthMax)
            return null;
        // The whole token is taken too: its first part is the CA's hash, which only the edge checks.
        var parts = jwt.Split('.');
        error = "the token is not a JWT of three parts";
        if (parts.Length is not (3 or 4))
            return null;
        parts = parts[^3..];
        try
        {
            var header = JsonNode.Parse(Base64Url.DecodeFromChars(parts[0]));
            var signature = HMACSHA256.HashData(keyDer, Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"));
            if (!CryptographicOperations.FixedTimeEquals(signature, Base64Url.DecodeFromChars(parts[2])))
            {
                var key = header.Text("kid");
                error = key.Length == 0 || key == AuthorityId(certificateDer) ? Wrong
                    : formerAuthorities.Contains(key) ? "the token is of the CA before the rollover, which makes certificates no longer; get a new one with 'edgectl gettoken'"
                    : "the token is of a CA that this cloudcore does not have; get one with 'edgectl gettoken' beside this cloudcore";
                return null;
            }

            error = "the token's algorithm is not HS256";
            if (header.Text("alg") != "HS256")
                return null;
            var claims = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1]));
            var seconds = claims.Number(0, "exp");
            error = "the token has no usable expiry";
            if (seconds is <= 0 or > 253_402_300_799)
                return null;
            error = "";
            return new TokenClaims(DateTimeOffset.FromUnixTimeSeconds(seconds), claims.Text("jti"), claims.Text("node"));
        }
        catch (Exception e) when (e is FormatException or JsonException or ArgumentException)
        {
            error = Wrong;
            return null;
        }
    }

    private static string Part(JsonObject json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json.ToJsonString()));
}
