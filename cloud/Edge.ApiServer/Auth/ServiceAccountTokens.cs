using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth;

/// <summary>Makes and checks service account tokens: JWTs signed with ES256, with the claims that Kubernetes gives.</summary>
internal sealed class ServiceAccountTokens(ECDsa key, TimeProvider time)
{
    public const string Issuer = "https://kubernetes.default.svc.cluster.local";
    private const int TokenLengthMax = 16 * 1024;
    private static readonly byte[] s_header = """{"alg":"ES256","typ":"JWT"}"""u8.ToArray();

    /// <summary>Signing is not documented as safe for concurrent use of one key.</summary>
    private readonly Lock _gate = new();

    public string Create(StoredObject account, IReadOnlyList<string> audiences, DateTimeOffset expires, JsonObject? boundTo)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var claims = new JsonObject
        {
            ["aud"] = new JsonArray([.. audiences.Select(a => JsonValue.Create(a))]),
            ["exp"] = expires.ToUnixTimeSeconds(),
            ["iat"] = now,
            ["iss"] = Issuer,
            ["jti"] = Guid.NewGuid().ToString(),
            ["kubernetes.io"] = new JsonObject
            {
                ["namespace"] = account.Namespace,
                ["serviceaccount"] = new JsonObject { ["name"] = account.Name, ["uid"] = account.Uid },
            },
            ["nbf"] = now,
            ["sub"] = $"system:serviceaccount:{account.Namespace}:{account.Name}",
        };
        if (boundTo is not null)
            claims.Child("kubernetes.io")[boundTo.Text("kind").ToLowerInvariant()] = new JsonObject { ["name"] = boundTo.Text("name"), ["uid"] = boundTo.Text("uid") };
        var signed = Base64Url.EncodeToString(s_header) + "." + Base64Url.EncodeToString(ObjectJson.Bytes(claims));
        lock (_gate)
            return signed + "." + Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256));
    }

    /// <summary>The claims of a token that this server signed, is in force and is for one of the audiences; else null.</summary>
    public JsonObject? Check(string token, IReadOnlyList<string> audiences)
    {
        var end = token.LastIndexOf('.');
        var middle = token.IndexOf('.', StringComparison.Ordinal);
        if (token.Length > TokenLengthMax || middle < 0 || end <= middle || !Ascii.IsValid(token)
            || !TryDecode(token.AsSpan(0, middle), out var header) || !TryDecode(token.AsSpan(middle + 1, end - middle - 1), out var body)
            || !TryDecode(token.AsSpan(end + 1), out var signature) || !header.AsSpan().SequenceEqual(s_header))
            return null;
        lock (_gate)
        {
            if (!key.VerifyData(Encoding.ASCII.GetBytes(token[..end]), signature, HashAlgorithmName.SHA256))
                return null;
        }

        JsonObject? claims;
        try
        {
            claims = JsonNode.Parse(body) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }

        var now = time.GetUtcNow().ToUnixTimeSeconds();
        return claims is not null && claims.Text("iss") == Issuer && claims.Number(0, "exp") > now && claims.Number(0, "nbf") <= now
            && claims.Texts("aud").Any(audience => audiences.Contains(audience, StringComparer.Ordinal)) ? claims : null;
    }

    /// <summary>The public key as a JSON Web Key Set (RFC 7517), so that others can check tokens without asking.</summary>
    public JsonObject KeySet()
    {
        ECParameters parameters;
        lock (_gate)
            parameters = key.ExportParameters(includePrivateParameters: false);
        return new JsonObject
        {
            ["keys"] = new JsonArray(new JsonObject
            {
                ["use"] = "sig", ["kty"] = "EC", ["crv"] = "P-256", ["alg"] = "ES256",
                ["x"] = Base64Url.EncodeToString(parameters.Q.X), ["y"] = Base64Url.EncodeToString(parameters.Q.Y),
            }),
        };
    }

    private static bool TryDecode(ReadOnlySpan<char> text, out byte[] bytes)
    {
        bytes = [];
        if (!Base64Url.IsValid(text))
            return false;
        bytes = Base64Url.DecodeFromChars(text);
        return true;
    }
}
