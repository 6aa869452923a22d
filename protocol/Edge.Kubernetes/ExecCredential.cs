using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>What a credential plugin answered: a token, a client certificate, or both.</summary>
/// <param name="Expires">Null: good until the API refuses it.</param>
internal sealed record ExecCredential(string? Token, X509Certificate2? Certificate, DateTimeOffset? Expires)
{
    private static readonly TimeSpan s_marginMax = TimeSpan.FromSeconds(10);

    public const string V1 = "client.authentication.k8s.io/v1";
    public const string V1Beta1 = "client.authentication.k8s.io/v1beta1";

    public override string ToString() => nameof(ExecCredential);

    /// <summary>Until when a credential that was obtained at <paramref name="now"/> is used: a tenth of its life before it expires, 10 s at most.</summary>
    public DateTimeOffset UsedUntil(DateTimeOffset now)
    {
        if (Expires is not { } expires)
            return DateTimeOffset.MaxValue;
        var margin = (expires - now) / 10;
        return expires - (margin < TimeSpan.Zero ? TimeSpan.Zero : margin < s_marginMax ? margin : s_marginMax);
    }

    /// <summary>The environment variable KUBERNETES_EXEC_INFO: an ExecCredential with a spec. Nobody sits before us, so nothing is interactive.</summary>
    public static string Info(ExecPlugin plugin)
    {
        var spec = new JsonObject { ["interactive"] = false };
        if (plugin.ClusterJson is { } cluster)
            spec["cluster"] = JsonNode.Parse(cluster);
        return new JsonObject { ["kind"] = "ExecCredential", ["apiVersion"] = plugin.ApiVersion, ["spec"] = spec }.ToJsonString();
    }

    /// <summary>Reads the program's standard output. Null with <paramref name="problem"/> when it is not what was asked for; the problem never holds what stood there.</summary>
    public static ExecCredential? TryRead(ReadOnlySpan<byte> output, string apiVersion, out string problem)
    {
        problem = "";
        JsonNode? root;
        try
        {
            root = KubeJson.Parse(output);
        }
        catch (JsonException)
        {
            problem = "its output is not JSON";
            return null;
        }

        if (root is not JsonObject || root.Text("kind") != "ExecCredential")
            problem = "its output is not an ExecCredential";
        else if (root.Text("apiVersion") != apiVersion)
            problem = $"it answered in apiVersion '{root.Text("apiVersion")}', the kubeconfig says {apiVersion}";
        else if (root["status"] is not JsonObject)
            problem = "its ExecCredential has no status";
        if (problem.Length > 0)
            return null;

        var token = root.Text("status", "token");
        var certificate = root.Text("status", "clientCertificateData");
        var key = root.Text("status", "clientKeyData");
        var expiry = root.Text("status", "expirationTimestamp");
        DateTimeOffset expires = default;
        if (token.Length == 0 && certificate.Length == 0 && key.Length == 0)
            problem = "its status has neither token nor clientCertificateData";
        else if (certificate.Length == 0 != (key.Length == 0))
            problem = "its status has one of clientCertificateData and clientKeyData without the other";
        else if (token.Any(c => c is <= ' ' or >= '\x7F'))
            problem = "its token has characters that no header can have";
        else if (expiry.Length > 0 && !DateTimeOffset.TryParse(expiry, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out expires))
            problem = "its expirationTimestamp is not an RFC 3339 time";
        if (problem.Length > 0)
            return null;
        try
        {
            return new ExecCredential(
                token.Length > 0 ? token : null, certificate.Length > 0 ? X509Certificate2.CreateFromPem(certificate, key) : null, expiry.Length > 0 ? expires : null);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            problem = $"its client certificate and key cannot be used: {e.Message}";
            return null;
        }
    }

    /// <summary>The last line of standard error that says something, cut to a bound: what a failing program says of it.</summary>
    public static string LastLine(string errors)
    {
        const int LengthMax = 300;
        var line = errors.Split('\n').Select(one => one.Trim()).LastOrDefault(one => one.Length > 0) ?? "";
        return line.Length > LengthMax ? line[..LengthMax] + "…" : line;
    }
}
