using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes.Selectors;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>What a list or watch selects.</summary>
internal sealed class ObjectFilter(string @namespace, LabelSelector labels, FieldSelector fields)
{
    public string Namespace { get; } = @namespace;

    /// <summary>The one name that is asked for, or null.</summary>
    public string? Name { get; } = fields.Exact("metadata.name");

    /// <summary>True when more than the namespace matters.</summary>
    public bool HasSelectors { get; } = !labels.IsEmpty || !fields.IsEmpty;

    public static ObjectFilter Read(HttpRequest request, ServedResource resource, string @namespace)
    {
        try
        {
            var labels = LabelSelector.Parse(request.Query["labelSelector"].ToString());
            var fields = FieldSelector.Parse(request.Query["fieldSelector"].ToString());
            foreach (var requirement in fields.Requirements)
                if (requirement.Field is not ("metadata.name" or "metadata.namespace") && !resource.SelectableFields.Contains(requirement.Field, StringComparer.Ordinal))
                    throw ApiException.BadRequest($"field label not supported: {requirement.Field}");
            if (@namespace.Length == 0 && resource.Kind.Namespaced && fields.Exact("metadata.namespace") is { } only)
                @namespace = only;
            return new ObjectFilter(@namespace, labels, fields);
        }
        catch (SelectorException e)
        {
            throw ApiException.BadRequest(e.Message);
        }
    }

    public bool Matches(StoredObject obj)
        => (Namespace.Length == 0 || obj.Namespace == Namespace)
            && (!HasSelectors || (fields.Matches(obj.Field) && (labels.IsEmpty || labels.Matches(obj.Labels))));
}
