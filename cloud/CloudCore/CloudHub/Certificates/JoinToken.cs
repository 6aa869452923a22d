using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The join token: <c>&lt;SHA-256 of the CA in hex&gt;.&lt;JWT&gt;</c>, the JWT with HS256 and the claim <c>exp</c>, keyed with the
/// CA's private key (kubeedge-wire §2.7). A secret: it is never logged.</summary>
internal static class JoinToken
{
    private const string Header = """{"alg":"HS256","typ":"JWT"}""";
    private const int LengthMax = 4096;

    public static string Create(ReadOnlySpan<byte> certificateDer, ReadOnlySpan<byte> keyDer, DateTimeOffset expires)
    {
        var claims = $$"""{"exp":{{expires.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)}}}""";
        var signed = $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(Header))}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}";
        var signature = HMACSHA256.HashData(keyDer, Encoding.ASCII.GetBytes(signed));
        return $"{Convert.ToHexStringLower(SHA256.HashData(certificateDer))}.{signed}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>Null when the JWT is good at <paramref name="now"/>; else the reason, without any of the token's text.</summary>
    public static string? Refuse(string jwt, ReadOnlySpan<byte> keyDer, DateTimeOffset now)
        => Expiry(jwt, keyDer, out var expires) is { } reason ? reason
            : expires <= now ? $"the token expired at {KubeObject.Time(expires)}; get a new one with 'edgectl gettoken'"
            : null;

    /// <summary>Checks the signature and reads when the token expires; returns the reason when it is not one of this CA.</summary>
    public static string? Expiry(string jwt, ReadOnlySpan<byte> keyDer, out DateTimeOffset expires)
    {
        const string Wrong = "the token was not made by this cloudcore; get one with 'edgectl gettoken'";
        expires = default;
        if (jwt.Length > LengthMax)
            return "the token is too long";
        // The whole token is taken too: its first part is the CA's hash, which only the edge checks.
        var parts = jwt.Split('.');
        if (parts.Length is not (3 or 4))
            return "the token is not a JWT of three parts";
        parts = parts[^3..];
        try
        {
            var signature = HMACSHA256.HashData(keyDer, Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"));
            if (!CryptographicOperations.FixedTimeEquals(signature, Base64Url.DecodeFromChars(parts[2])))
                return Wrong;
            if (JsonNode.Parse(Base64Url.DecodeFromChars(parts[0])).Text("alg") != "HS256")
                return "the token's algorithm is not HS256";
            var seconds = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1])).Number(0, "exp");
            if (seconds is <= 0 or > 253_402_300_799)
                return "the token has no usable expiry";
            expires = DateTimeOffset.FromUnixTimeSeconds(seconds);
            return null;
        }
        catch (Exception e) when (e is FormatException or JsonException or ArgumentException)
        {
            return Wrong;
        }
    }
}
