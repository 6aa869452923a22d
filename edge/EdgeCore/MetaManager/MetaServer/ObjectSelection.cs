using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Which objects a list or watch of what the node holds selects. Pure.</summary>
internal sealed class ObjectSelection(string @namespace, LabelSelector labels, FieldSelector fields)
{
    private readonly bool _selects = !labels.IsEmpty || !fields.IsEmpty;

    /// <summary>The one name that the field selector demands, or null.</summary>
    public string? Name { get; } = fields.Exact("metadata.name");

    /// <exception cref="MetaServerException">400, a selector cannot be read.</exception>
    public static ObjectSelection Read(string @namespace, string labelSelector, string fieldSelector)
    {
        try
        {
            var fields = FieldSelector.Parse(fieldSelector);
            return new ObjectSelection(@namespace.Length > 0 ? @namespace : fields.Exact("metadata.namespace") ?? "", LabelSelector.Parse(labelSelector), fields);
        }
        catch (SelectorException e)
        {
            throw MetaServerException.BadRequest(e.Message);
        }
    }

    public bool Matches(HeldObject obj)
        => (@namespace.Length == 0 || obj.Namespace == @namespace) && (!_selects || (fields.Matches(obj.Json) && (labels.IsEmpty || labels.Matches(obj.Json.Map("metadata", "labels")))));

    /// <summary>The change as the watch sees it: what comes into the selection is added, what leaves it deleted; null when it is none of its business.</summary>
    public (WatchEventType Type, JsonObject Object)? Seen(HeldEvent change)
    {
        var before = change.Before is not null && Matches(change.Before);
        if (change.Type == WatchEventType.Deleted)
            return before ? (WatchEventType.Deleted, change.Object.Json) : null;
        if (Matches(change.Object))
            return (before ? WatchEventType.Modified : WatchEventType.Added, change.Object.Json);
        if (!before)
            return null;
        // As it was last in the selection, with the version of the change.
        var last = (JsonObject)change.Before!.Json.DeepClone();
        last.Child("metadata")["resourceVersion"] = change.Object.Json.ResourceVersion();
        return (WatchEventType.Deleted, last);
    }
}
