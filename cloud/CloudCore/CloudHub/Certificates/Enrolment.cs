using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The HTTPS port by which a node gets its certificate (kubeedge-wire §2.7).</summary>
internal sealed class Enrolment(HubCertificates certificates, IKubeClient kube, TimeSpan lifetime, TimeProvider time, HubMetrics metrics, ILogger logger)
{
    /// <summary>Largest accepted request body, bytes.</summary>
    public const int BodyMax = 1024 * 1024;

    // Go's x509.ExtKeyUsage numbers.
    private const int GoServerAuth = 1;
    private const int GoClientAuth = 2;

    private readonly TokenStore _tokens = new(kube, time);

    public async Task ServeAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "";
        if (!HttpMethods.IsGet(context.Request.Method))
        {
            await Respond.TextAsync(context, StatusCodes.Status405MethodNotAllowed, $"{path} is served to GET only");
            return;
        }

        // The CAs, too, go only to a node that has none but those: one that was told a newer CA elsewhere would forget it.
        if (context.Connection.ClientCertificate is { } client && !await certificates.LearnAsync(client, context.RequestAborted))
        {
            await Respond.TextAsync(context, StatusCodes.Status503ServiceUnavailable, HubCertificates.NotKnown);
            return;
        }

        await (path switch
        {
            "/ca.crt" => Respond.BytesAsync(context, certificates.Authorities.Active.CertificateDer),
            "/ca-bundle.crt" => Respond.BytesAsync(context, certificates.Authorities.Bundle),
            "/edge.crt" => IssueAsync(context),
            _ when path.StartsWith("/node/", StringComparison.Ordinal) => NodeAsync(context, path["/node/".Length..]),
            _ => Respond.TextAsync(context, StatusCodes.Status404NotFound, "there is /ca.crt, /ca-bundle.crt, /edge.crt and /node/<name>"),
        });
    }

    private async Task IssueAsync(HttpContext context)
    {
        var node = context.Request.Headers["NodeName"].ToString();
        var address = context.Connection.RemoteIpAddress?.ToString() ?? "";
        if (!NodeName.IsValid(node))
        {
            await RefuseAsync(context, "", address, StatusCodes.Status400BadRequest, "the header NodeName is missing or no valid node name");
            return;
        }

        // One set of CAs for the whole request, also when it changes meanwhile.
        var authorities = certificates.Authorities;
        var (by, code, refusal) = await AuthenticateAsync(context, authorities, node);
        if (code != 0)
        {
            await RefuseAsync(context, node, address, code, refusal);
            return;
        }

        if (await ReadBodyAsync(context) is not { } der)
        {
            await RefuseAsync(context, node, address, StatusCodes.Status413PayloadTooLarge, $"the request is over {BodyMax} bytes");
            return;
        }

        CertificateRequest request;
        try
        {
            request = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.Default);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or NotSupportedException)
        {
            await RefuseAsync(context, node, address, StatusCodes.Status400BadRequest, $"the body is no certificate request in DER with a good signature: {e.Message}");
            return;
        }

        if (NodeName.Of(request.SubjectName) is not { } subject || subject != node)
        {
            await RefuseAsync(context, node, address, StatusCodes.Status403Forbidden,
                $"the request's subject must be O={NodeName.Organization}, CN={NodeName.CommonNamePrefix}{node}; it is '{request.SubjectName.Name}'");
            return;
        }

        if (Usages(context.Request.Headers["ExtKeyUsages"].ToString()) is not { } usages)
        {
            await RefuseAsync(context, node, address, StatusCodes.Status400BadRequest, "ExtKeyUsages must be a JSON list of 2 (client) and perhaps 1 (server)");
            return;
        }

        using var certificate = authorities.Active.IssueNode(request, lifetime, usages.Contains(GoServerAuth));
        HubLog.Issued(logger, node, by, certificate.NotAfter.ToUniversalTime());
        await Respond.BytesAsync(context, certificate.RawData);
    }

    // A good certificate of the node itself renews; else the token decides. Answers by what, or the status and the reason.
    private async Task<(string By, int Code, string Reason)> AuthenticateAsync(HttpContext context, AuthoritySet authorities, string node)
    {
        var authorization = context.Request.Headers.Authorization.ToString();
        if (context.Connection.ClientCertificate is { } certificate)
        {
            var reason = authorities.Refuse(certificate, time.GetUtcNow(), out _) is { } bad ? $"the client certificate is not accepted: {bad}"
                : NodeName.Of(certificate) == node ? ""
                : $"the client certificate is not that of node '{node}'";
            if (reason.Length == 0)
                return ("by its certificate", 0, "");
            if (authorization.Length == 0)
                return ("", StatusCodes.Status401Unauthorized, reason);
        }

        const string Scheme = "Bearer ";
        if (authorization.Length == 0)
            return ("", StatusCodes.Status401Unauthorized, "a client certificate or a join token (Authorization: Bearer <token>) is needed");
        if (!authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            return ("", StatusCodes.Status401Unauthorized, "the Authorization header must be 'Bearer <token>'");
        if (authorities.TryReadToken(authorization[Scheme.Length..].Trim(), out var error) is not { } claims)
            return ("", StatusCodes.Status401Unauthorized, error);
        if (claims.Expires <= time.GetUtcNow())
            return ("", StatusCodes.Status401Unauthorized, $"the token expired at {KubeObject.Time(claims.Expires)}; get a new one with 'edgectl gettoken'");
        if (claims.Node.Length > 0 && claims.Node != node)
            return ("", StatusCodes.Status403Forbidden, $"the token is for node '{claims.Node}', this is node '{node}'; make one for it with 'edgectl token create --node {node}'");
        if (claims.Id.Length == 0)
            return ("by a join token", 0, "");
        try
        {
            return await _tokens.ExistsAsync(claims.Id, context.RequestAborted) ? ($"by join token {claims.Id}", 0, "")
                : ("", StatusCodes.Status401Unauthorized, $"the token {claims.Id} was revoked; make a new one with 'edgectl token create'");
        }
        catch (KubeException e)
        {
            HubLog.RequestFailed(logger, "/edge.crt", e.Message);
            return ("", StatusCodes.Status503ServiceUnavailable, "the Kubernetes API does not answer, so that the token cannot be checked; try again");
        }
    }

    private async Task NodeAsync(HttpContext context, string name)
    {
        if (!NodeName.IsValid(name))
        {
            await Respond.TextAsync(context, StatusCodes.Status400BadRequest, "the path must be /node/<node name>");
            return;
        }

        try
        {
            var exists = await kube.TryGetAsync(ResourceKind.Node, null, name, context.RequestAborted) is not null;
            await Respond.TextAsync(context, exists ? StatusCodes.Status200OK : StatusCodes.Status404NotFound, exists ? $"node {name} exists" : $"node {name} does not exist");
        }
        catch (KubeException e)
        {
            HubLog.RequestFailed(logger, "/node", e.Message);
            await Respond.TextAsync(context, StatusCodes.Status500InternalServerError, "the Kubernetes API does not answer");
        }
    }

    private static async Task<byte[]?> ReadBodyAsync(HttpContext context)
    {
        if (context.Request.ContentLength > BodyMax)
            return null;
        try
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            return body.ToArray();
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return null;
        }
    }

    private static HashSet<int>? Usages(string header)
    {
        if (header.Length == 0)
            return [GoClientAuth];
        try
        {
            var usages = (JsonNode.Parse(header) as JsonArray)?.Select(one => one is JsonValue value && value.TryGetValue<int>(out var usage) ? usage : 0).ToHashSet();
            return usages is not null && usages.IsSubsetOf([GoServerAuth, GoClientAuth]) ? usages : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private Task RefuseAsync(HttpContext context, string node, string address, int code, string reason)
    {
        if (code == StatusCodes.Status403Forbidden)
            metrics.Forbidden();
        HubLog.NotIssued(logger, node, address, reason);
        return Respond.TextAsync(context, code, reason);
    }
}
