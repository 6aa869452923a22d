using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Public keys that ServiceAccount tokens are signed with: those of a JSON Web Key Set (RFC 7517) and of PEM files. Immutable.</summary>
internal sealed class TokenKeys
{
    private const int KeysMax = 32;
    private readonly IReadOnlyList<(string Id, AsymmetricAlgorithm Key)> _keys;

    private TokenKeys(IReadOnlyList<(string, AsymmetricAlgorithm)> keys) => _keys = keys;

    public static TokenKeys None { get; } = new([]);

    public int Count => _keys.Count;

    public TokenKeys With(TokenKeys more) => new([.. _keys, .. more._keys]);

    /// <summary>The keys of a set that can be used here (P-256, P-384, RSA); others are left out.</summary>
    public static TokenKeys FromSet(JsonObject set)
    {
        var keys = new List<(string, AsymmetricAlgorithm)>();
        foreach (var one in set.Items("keys").Take(KeysMax))
        {
            try
            {
                if (one.Text("kty") == "EC" && (one.Text("crv") is "P-256" or "P-384"))
                {
                    keys.Add((one.Text("kid"), ECDsa.Create(new ECParameters
                    {
                        Curve = one.Text("crv") == "P-256" ? ECCurve.NamedCurves.nistP256 : ECCurve.NamedCurves.nistP384,
                        Q = new ECPoint { X = Base64Url.DecodeFromChars(one.Text("x")), Y = Base64Url.DecodeFromChars(one.Text("y")) },
                    })));
                }
                else if (one.Text("kty") == "RSA")
                {
                    keys.Add((one.Text("kid"), RSA.Create(new RSAParameters { Modulus = Base64Url.DecodeFromChars(one.Text("n")), Exponent = Base64Url.DecodeFromChars(one.Text("e")) })));
                }
            }
            catch (Exception e) when (e is CryptographicException or FormatException)
            {
                // A key of a kind or form that is not used here says nothing about the others.
            }
        }

        return new TokenKeys(keys);
    }

    /// <summary>The public key, or certificate's key, of a PEM text.</summary>
    /// <exception cref="CryptographicException">It holds none.</exception>
    public static TokenKeys FromPem(string pem)
    {
        try
        {
            var ec = ECDsa.Create();
            ec.ImportFromPem(pem);
            return new TokenKeys([("", ec)]);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            var rsa = RSA.Create();
            try
            {
                rsa.ImportFromPem(pem);
            }
            catch (ArgumentException inner)
            {
                throw new CryptographicException("it holds no public key in PEM", inner);
            }

            return new TokenKeys([("", rsa)]);
        }
    }

    /// <summary>Whether one of the keys made the signature. A token that names its key is checked with that one alone.</summary>
    public bool Verify(string algorithm, string keyId, byte[] signed, byte[] signature)
    {
        var hash = algorithm switch { "ES256" or "RS256" => HashAlgorithmName.SHA256, "ES384" or "RS384" => HashAlgorithmName.SHA384, "RS512" => HashAlgorithmName.SHA512, _ => default };
        if (hash == default)
            return false;
        foreach (var (id, key) in _keys)
        {
            if (keyId.Length > 0 && id.Length > 0 && id != keyId)
                continue;
            // One at a time: use of one key by two threads is not documented as safe.
            lock (key)
            {
                if (algorithm[0] == 'E' && key is ECDsa ec ? ec.VerifyData(signed, signature, hash) : algorithm[0] == 'R' && key is RSA rsa && rsa.VerifyData(signed, signature, hash, RSASignaturePadding.Pkcs1))
                    return true;
            }
        }

        return false;
    }
}

/// <summary>What a token says; its text is a secret and is in no message of this type.</summary>
/// <param name="PodUid">The pod that it is bound to; empty for none.</param>
internal sealed record AccountClaims(string Namespace, string Account, string PodName, string PodUid, DateTimeOffset Expires)
{
    public string User => $"system:serviceaccount:{Namespace}:{Account}";

    public IReadOnlyList<string> Groups => ["system:serviceaccounts", $"system:serviceaccounts:{Namespace}", "system:authenticated"];
}

/// <summary>What became of the check of a token.</summary>
/// <param name="Claims">Null when it is not good.</param>
/// <param name="Problem">Why not; never the token itself.</param>
/// <param name="IsSigned">Whether everything but its time is right.</param>
internal sealed record TokenCheck(AccountClaims? Claims, string Problem, bool IsSigned);

/// <summary>Reads and checks ServiceAccount tokens (JWT, RFC 7519, with Kubernetes' claims). Pure.</summary>
internal static class AccountToken
{
    private const int LengthMax = 16 * 1024;

    /// <summary>Clocks of nodes are not those of the cloud.</summary>
    private const int LeewaySeconds = 60;

    /// <summary>Checks signature, issuer, audience and time.</summary>
    /// <param name="isKnown">True for a token that the cloud itself gave this node for one of its pods: its signature need not be checked.</param>
    public static TokenCheck Check(string token, TokenKeys keys, bool isKnown, IReadOnlyList<string> issuers, IReadOnlyList<string> audiences, DateTimeOffset now)
    {
        var parts = token.Length > LengthMax || !Ascii.IsValid(token) ? [] : token.Split('.');
        if (parts.Length != 3 || Decode(parts[0]) is not { } header || Decode(parts[1]) is not { } claims || !Base64Url.IsValid(parts[2]))
            return new TokenCheck(null, "the bearer token is no ServiceAccount token", false);
        if (!isKnown && !keys.Verify(header.Text("alg"), header.Text("kid"), Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2])))
            return new TokenCheck(null, keys.Count == 0 ? "this node does not know the issuer's keys yet; it gets them when the cloud is connected" : "the token's signature is not one of the issuer's", false);
        if (!issuers.Contains(claims.Text("iss"), StringComparer.Ordinal))
            return new TokenCheck(null, $"the token's issuer is '{claims.Text("iss")}', which modules.metaManager.metaServer.serviceAccountIssuers does not name", false);
        var named = claims["aud"] is JsonValue ? [claims.Text("aud")] : claims.Texts("aud").ToList();
        if (!named.Intersect(audiences, StringComparer.Ordinal).Any())
            return new TokenCheck(null, $"the token is for {string.Join(", ", named)}, not for {string.Join(", ", audiences)}", false);
        var (ns, account) = (claims.Text("kubernetes.io", "namespace"), claims.Text("kubernetes.io", "serviceaccount", "name"));
        if (ns.Length == 0 || account.Length == 0 || claims.Text("sub") != $"system:serviceaccount:{ns}:{account}")
            return new TokenCheck(null, "the token names no ServiceAccount", false);
        var expires = DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(claims.Number(0, "exp"), 0, 1L << 36));
        var read = new AccountClaims(ns, account, claims.Text("kubernetes.io", "pod", "name"), claims.Text("kubernetes.io", "pod", "uid"), expires);
        var seconds = now.ToUnixTimeSeconds();
        if (claims.Number(0, "nbf") > seconds + LeewaySeconds)
            return new TokenCheck(read, "the token is not valid yet; is this node's clock right?", true);
        return new TokenCheck(read, expires.ToUnixTimeSeconds() + LeewaySeconds <= seconds ? $"the token expired at {KubeObject.Time(expires)}" : "", true);
    }

    private static JsonObject? Decode(string part)
    {
        try
        {
            return Base64Url.IsValid(part) ? JsonNode.Parse(Base64Url.DecodeFromChars(part), documentOptions: new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false }) as JsonObject : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
