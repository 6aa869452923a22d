using Edge.ApiServer.Schema;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>One resource in one version, as requests name it. Immutable.</summary>
internal sealed record ServedResource(ResourceKind Kind, string Singular)
{
    public string ListKind { get; init; } = Kind.Kind + "List";

    public IReadOnlyList<string> ShortNames { get; init; } = [];

    public IReadOnlyList<string> Categories { get; init; } = [];

    public bool HasStatus { get; init; }

    /// <summary>Made of other things when it is asked for: it can be read, not written or watched.</summary>
    public bool IsComputed { get; init; }

    /// <summary>The verbs that discovery names; null for the usual ones.</summary>
    public IReadOnlyList<string>? Verbs { get; init; }

    /// <summary>The definition, where the resource comes from a CustomResourceDefinition.</summary>
    public CustomResource? Definition { get; init; }

    /// <summary>The served version of <see cref="Definition"/>.</summary>
    public CustomResourceVersion? Custom { get; init; }

    /// <summary>True once the definition is being deleted: nothing new may be created.</summary>
    public bool Terminating { get; init; }

    /// <summary>PUT makes what is missing, as Kubernetes does for leases, endpoints and events.</summary>
    public bool CreateOnUpdate { get; init; }

    /// <summary>PUT without a resourceVersion overwrites whatever is there.</summary>
    public bool UnconditionalUpdate { get; init; } = true;

    /// <summary>The server counts changes of the desired state in metadata.generation.</summary>
    public bool HasGeneration { get; init; }

    /// <summary>Paths that field selectors may name, besides metadata.name and metadata.namespace.</summary>
    public IReadOnlyList<string> SelectableFields { get; init; } = [];

    /// <summary>Where the autoscaling/v1 Scale reads and writes; null where there is none.</summary>
    public ScalePaths? Scale { get; init; }

    public ResourceId Id => ResourceId.Of(Kind);

    /// <summary><c>pods</c>, or <c>devices.devices.kubeedge.io</c>: as messages name it.</summary>
    public string Qualified => Kind.Group.Length == 0 ? Kind.Plural : $"{Kind.Plural}.{Kind.Group}";

    /// <summary>The apiVersion that objects are stored with.</summary>
    public string StorageApiVersion => Definition is null ? Kind.ApiVersion : $"{Kind.Group}/{Definition.Versions.First(v => v.Storage).Name}";
}
