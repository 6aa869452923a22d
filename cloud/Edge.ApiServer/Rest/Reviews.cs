using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>The questions of authorization.k8s.io/v1 and authentication.k8s.io/v1: they are posted, answered, and not kept.</summary>
internal sealed class Reviews(Authorizer authorizer, Authenticator authenticator, TimeProvider time)
{
    private const string Access = "authorization.k8s.io";
    private const string Identity = "authentication.k8s.io";

    /// <summary>For discovery.</summary>
    public static IReadOnlyList<ServedResource> Resources { get; } =
    [
        Review(Access, "selfsubjectaccessreviews", "SelfSubjectAccessReview"), Review(Access, "subjectaccessreviews", "SubjectAccessReview"),
        Review(Access, "localsubjectaccessreviews", "LocalSubjectAccessReview", isNamespaced: true), Review(Access, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        Review(Identity, "tokenreviews", "TokenReview"), Review(Identity, "selfsubjectreviews", "SelfSubjectReview"),
    ];

    /// <summary>Answers a question; false when the path is none. The caller has checked that the user may ask.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context, RequestPath path, UserIdentity user)
    {
        if (Resources.FirstOrDefault(one => one.Kind.Group == path.Group && one.Kind.Version == path.Version && one.Kind.Plural == path.Plural) is not { } resource)
            return false;
        if (resource.Kind.Namespaced != path.Namespace.Length > 0)
            throw ApiException.NoSuchResource();
        if (context.Request.Method != "POST" || path.Name.Length > 0)
            throw ApiException.MethodNotAllowed();
        var review = await RequestBody.ReadObjectAsync(context.Request, context.RequestAborted) ?? throw ApiException.BadRequest("the request has no body");
        if (review.Kind().Length > 0 && review.Kind() != resource.Kind.Kind)
            throw ApiException.BadRequest($"the kind in the data ({review.Kind()}) does not match the resource ({resource.Kind.Kind})");
        var spec = review["spec"] as JsonObject ?? [];
        var status = resource.Kind.Kind switch
        {
            "SelfSubjectAccessReview" => Decide(resource, spec, user, null),
            "SelfSubjectRulesReview" => Rules(resource, spec, user),
            "TokenReview" => Token(resource, spec),
            "SelfSubjectReview" => new JsonObject { ["userInfo"] = Describe(user) },
            _ => Decide(resource, spec, Subject(resource, spec), resource.Kind.Namespaced ? path.Namespace : null),
        };
        review["kind"] = resource.Kind.Kind;
        review["apiVersion"] = resource.Kind.ApiVersion;
        review["metadata"] = new JsonObject { ["creationTimestamp"] = resource.Kind.Kind == "SelfSubjectReview" ? KubeObject.Time(time.GetUtcNow()) : null };
        review["status"] = status;
        await ApiResponse.WriteAsync(context, 201, review);
        return true;
    }

    /// <summary>A user as reviews and audit entries show him (authentication.k8s.io UserInfo).</summary>
    public static JsonObject Describe(UserIdentity user)
    {
        var info = new JsonObject { ["username"] = user.Name };
        if (user.Uid.Length > 0)
            info["uid"] = user.Uid;
        info["groups"] = Array(user.Groups);
        if (user.Extra.Count > 0)
            info["extra"] = new JsonObject(user.Extra.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)Array(pair.Value))));
        return info;
    }

    private JsonObject Decide(ServedResource resource, JsonObject spec, UserIdentity user, string? @namespace)
    {
        var (attributes, path) = (spec["resourceAttributes"] as JsonObject, spec["nonResourceAttributes"] as JsonObject);
        if (attributes is null == path is null)
            throw ApiException.Invalid(resource, "", [Errors.Invalid("spec", "", "exactly one of nonResourceAttributes or resourceAttributes must be specified")]);
        if (@namespace is not null && attributes.Text("namespace") != @namespace)
            throw ApiException.Invalid(resource, "", [Errors.Invalid("spec.resourceAttributes.namespace", attributes.Text("namespace"), $"must match metadata.namespace: {@namespace}")]);
        var decision = authorizer.Decide(attributes is null
            ? new AccessRequest(user, path.Text("verb").ToLowerInvariant()) { Path = path.Text("path") }
            : new AccessRequest(user, attributes.Text("verb"))
            {
                Group = attributes.Text("group"), Resource = attributes.Text("resource"), Subresource = attributes.Text("subresource"), Namespace = attributes.Text("namespace"), Name = attributes.Text("name"),
                NodeSelected = NodeSelected(attributes),
            });
        var status = new JsonObject { ["allowed"] = decision.IsAllowed };
        if (decision.Reason.Length > 0)
            status["reason"] = decision.Reason;
        return status;
    }

    private static string NodeSelected(JsonObject attributes)
        => attributes.Items("fieldSelector", "requirements").FirstOrDefault(one => one.Text("key") == "spec.nodeName" && one.Text("operator") == "In" && one.Texts("values").Count() == 1)?.Texts("values").First() ?? "";

    private static UserIdentity Subject(ServedResource resource, JsonObject spec)
    {
        var (name, groups) = (spec.Text("user"), spec.Texts("groups").ToList());
        return name.Length > 0 || groups.Count > 0 ? new UserIdentity(name, groups) { Uid = spec.Text("uid") }
            : throw ApiException.Invalid(resource, "", [Errors.Invalid("spec.user", "", "at least one of user or group must be specified")]);
    }

    private JsonObject Rules(ServedResource resource, JsonObject spec, UserIdentity user)
    {
        if (spec.Text("namespace") is not { Length: > 0 } ns)
            throw ApiException.BadRequest($"no namespace on request: spec.namespace of a {resource.Kind.Kind} must name one");
        var rules = authorizer.Rbac.RulesFor(user, ns);
        if (user.IsPrivileged && rules.Count == 0)
            rules = [new PolicyRule(["*"], ["*"], ["*"], [], []), new PolicyRule(["*"], [], [], [], ["*"])];
        return new JsonObject
        {
            ["resourceRules"] = new JsonArray([.. rules.Where(rule => rule.Paths.Count == 0).Select(rule => rule.ToJson())]),
            ["nonResourceRules"] = new JsonArray([.. rules.Where(rule => rule.Paths.Count > 0).Select(rule => rule.ToJson())]),
            ["incomplete"] = user.Node is not null, // a node may more than its roles say
        };
    }

    private JsonObject Token(ServedResource resource, JsonObject spec)
    {
        if (spec.Text("token") is not { Length: > 0 } token)
            throw ApiException.Invalid(resource, "", [Errors.Required("spec.token")]);
        var audiences = spec.Texts("audiences").ToList();
        if (authenticator.Judge(token, audiences) is not { } judged)
            return new JsonObject { ["user"] = new JsonObject(), ["error"] = "invalid bearer token" };
        return new JsonObject { ["authenticated"] = true, ["user"] = Describe(judged.User), ["audiences"] = Array(judged.Audiences) };
    }

    private static ServedResource Review(string group, string plural, string kind, bool isNamespaced = false)
        => new(new ResourceKind(group, "v1", plural, kind, isNamespaced), plural[..^1]) { IsComputed = true, Verbs = ["create"] };

    private static JsonArray Array(IEnumerable<string> texts) => new([.. texts.Select(text => JsonValue.Create(text))]);
}
