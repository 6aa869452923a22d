using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>What is served now: the built-in kinds and every established CustomResourceDefinition. Follows the store change by change,
/// so a definition serves as soon as its creation is answered.</summary>
internal sealed class ResourceRegistry
{
    private volatile Served _served = new(ImmutableDictionary<string, ImmutableArray<ServedResource>>.Empty);

    /// <summary>All served resources, built-in first, then by definition name.</summary>
    public ImmutableArray<ServedResource> All => _served.All;

    public ServedResource? Find(string group, string version, string plural) => _served.ByPath.GetValueOrDefault((group, version, plural));

    /// <summary>True when the group and version have any resource.</summary>
    public bool HasGroupVersion(string group, string version) => All.Any(r => r.Kind.Group == group && r.Kind.Version == version);

    public void Load(IEnumerable<StoredObject> definitions)
    {
        foreach (var definition in definitions)
            Put(definition);
    }

    /// <summary>Takes a change of a CustomResourceDefinition; others are ignored.</summary>
    public void Apply(StoredEvent change)
    {
        if (change.Object.Resource != BuiltinResources.Definitions.Id)
            return;
        if (change.Type == WatchEventType.Deleted)
            _served = new Served(_served.Custom.Remove(change.Object.Name));
        else
            Put(change.Object);
    }

    /// <summary>Another definition of the same group that has already taken one of the names; null when there is none.</summary>
    public string? NameConflict(CustomResource definition)
        => All.FirstOrDefault(r => r.Definition is { } other && other.Group == definition.Group && other.Plural != definition.Plural
            && (other.Kind == definition.Kind || other.ListKind == definition.ListKind || other.Singular == definition.Singular
                || other.ShortNames.Intersect(definition.ShortNames, StringComparer.Ordinal).Any()))?.Qualified;

    private void Put(StoredObject stored)
    {
        var crd = stored.Parse();
        var established = crd.Items("status", "conditions").Any(c => c.Text("type") == "Established" && c.Text("status") == "True");
        var resources = established && CustomResource.TryParse(crd, out var definition, out _) ? Versions(definition, crd) : [];
        _served = new Served(_served.Custom.SetItem(stored.Name, resources));
    }

    private static ImmutableArray<ServedResource> Versions(CustomResource definition, JsonObject crd)
        => [.. definition.Versions.Where(v => v.Served).Select(v => new ServedResource(
            new ResourceKind(definition.Group, v.Name, definition.Plural, definition.Kind, definition.Namespaced), definition.Singular)
        {
            ListKind = definition.ListKind,
            ShortNames = definition.ShortNames,
            Categories = definition.Categories,
            HasStatus = v.HasStatus,
            Scale = v.Scale,
            Definition = definition,
            Custom = v,
            Terminating = crd.IsDeleting(),
            UnconditionalUpdate = false,
            HasGeneration = true,
            SelectableFields = [.. v.SelectableFields.Select(path => path.TrimStart('.'))],
        })];

    private sealed class Served
    {
        public Served(ImmutableDictionary<string, ImmutableArray<ServedResource>> custom)
        {
            Custom = custom;
            All = [.. BuiltinResources.All, .. custom.OrderBy(pair => pair.Key, StringComparer.Ordinal).SelectMany(pair => pair.Value)];
            ByPath = All.ToDictionary(r => (r.Kind.Group, r.Kind.Version, r.Kind.Plural));
        }

        public ImmutableDictionary<string, ImmutableArray<ServedResource>> Custom { get; }

        public ImmutableArray<ServedResource> All { get; }

        public Dictionary<(string Group, string Version, string Plural), ServedResource> ByPath { get; }
    }
}
