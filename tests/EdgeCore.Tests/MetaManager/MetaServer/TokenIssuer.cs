using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.MetaManager.MetaServer;

namespace Edge.Core.Tests.MetaManager.MetaServer;

/// <summary>Makes tokens as an API server does (ES256).</summary>
internal sealed class TokenIssuer : IDisposable
{
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public JsonObject KeySet
    {
        get
        {
            var q = _key.ExportParameters(false).Q;
            return new JsonObject
            {
                ["keys"] = new JsonArray(new JsonObject { ["kty"] = "EC", ["crv"] = "P-256", ["alg"] = "ES256", ["x"] = Base64Url.EncodeToString(q.X), ["y"] = Base64Url.EncodeToString(q.Y) }),
            };
        }
    }

    public TokenKeys Keys => TokenKeys.FromSet(KeySet);

    public string Pem => _key.ExportSubjectPublicKeyInfoPem();

    public string Make(DateTimeOffset expires, string account = "reader", string issuer = MetaServerOptions.DefaultIssuer, string audience = MetaServerOptions.DefaultIssuer, (string Name, string Uid)? pod = null)
    {
        var kubernetes = new JsonObject { ["namespace"] = "default", ["serviceaccount"] = new JsonObject { ["name"] = account, ["uid"] = "a" } };
        if (pod is var (name, uid))
            kubernetes["pod"] = new JsonObject { ["name"] = name, ["uid"] = uid };
        var claims = new JsonObject
        {
            ["aud"] = new JsonArray(audience), ["exp"] = expires.ToUnixTimeSeconds(), ["nbf"] = expires.AddHours(-1).ToUnixTimeSeconds(), ["iss"] = issuer,
            ["sub"] = $"system:serviceaccount:default:{account}", ["kubernetes.io"] = kubernetes,
        };
        var signed = $"{Base64Url.EncodeToString("""{"alg":"ES256","typ":"JWT"}"""u8)}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims.ToJsonString()))}";
        return $"{signed}.{Base64Url.EncodeToString(_key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256))}";
    }

    public void Dispose() => _key.Dispose();
}
