using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Volumes;

/// <summary>A token of a pod's ServiceAccount. Its text is a secret and is in no message of this type.</summary>
/// <param name="Expires">When the API stops accepting it.</param>
/// <param name="Lifetime">How long it was good for when it was made.</param>
internal sealed record AccountToken(string Token, DateTimeOffset Expires, TimeSpan Lifetime)
{
    public override string ToString() => $"token until {KubeObject.Time(Expires)}";
}

/// <summary>When tokens are asked for and what the question says, as a kubelet does it (pkg/kubelet/token). Pure.</summary>
internal static class TokenRules
{
    /// <summary>Lifetime asked for when the projection names none; the API server's default, seconds.</summary>
    public const long ExpirationDefault = 3600;

    private static readonly TimeSpan s_ageMax = TimeSpan.FromHours(24);

    /// <summary>When the token is to be replaced: at four fifths of its life or 24 h old, whichever is first, less <paramref name="jitter"/>.</summary>
    public static DateTimeOffset RefreshAt(AccountToken token, TimeSpan jitter)
    {
        var made = token.Expires - token.Lifetime;
        var old = token.Lifetime * 0.8;
        return made + (old < s_ageMax ? old : s_ageMax) - jitter;
    }

    /// <summary>The ServiceAccount that the pod runs as.</summary>
    public static string Account(PodDescription pod) => pod.Json.Text("spec", "serviceAccountName") is { Length: > 0 } named ? named : "default";

    /// <summary>The key under which a pod's token is kept: another pod, audience or lifetime is another token.</summary>
    public static string Key(PodDescription pod, JsonObject projection)
        => string.Create(CultureInfo.InvariantCulture, $"{pod.Uid}/{Account(pod)}/{Expiration(projection)}/{projection.Text("audience")}");

    /// <summary>The question: a token for this pod alone (authentication.k8s.io/v1 TokenRequest).</summary>
    public static JsonObject Request(PodDescription pod, JsonObject projection)
    {
        var spec = new JsonObject
        {
            ["audiences"] = projection.Text("audience") is { Length: > 0 } audience ? new JsonArray(JsonValue.Create(audience)) : new JsonArray(),
            ["expirationSeconds"] = Expiration(projection),
            ["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["apiVersion"] = "v1", ["name"] = pod.Name, ["uid"] = pod.Uid },
        };
        return new JsonObject
        {
            ["kind"] = "TokenRequest",
            ["apiVersion"] = "authentication.k8s.io/v1",
            ["metadata"] = new JsonObject { ["name"] = Account(pod), ["namespace"] = pod.Namespace },
            ["spec"] = spec,
        };
    }

    /// <summary>The token in an answered TokenRequest, or in a kept row, which has the same shape; null when there is none that can be used.</summary>
    public static AccountToken? Read(JsonObject answer)
    {
        var token = answer.Text("status", "token");
        if (token.Length == 0 || !DateTimeOffset.TryParse(answer.Text("status", "expirationTimestamp"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var expires))
            return null;
        var seconds = Math.Clamp(answer.Number(ExpirationDefault, "spec", "expirationSeconds"), 1, 1L << 32);
        return new AccountToken(token, expires, TimeSpan.FromSeconds(seconds));
    }

    /// <summary>The row that is kept of a token.</summary>
    public static JsonObject Row(AccountToken token) => new()
    {
        ["spec"] = new JsonObject { ["expirationSeconds"] = (long)token.Lifetime.TotalSeconds },
        ["status"] = new JsonObject { ["token"] = token.Token, ["expirationTimestamp"] = KubeObject.Time(token.Expires) },
    };

    private static long Expiration(JsonObject projection) => projection.Number(ExpirationDefault, "expirationSeconds");
}
