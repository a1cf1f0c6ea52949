/// Who may refer to what in the grant's namespace.
enum ReferenceGrantDecoder {
  /// The CRD's bound of both lists.
  static let maximumEntries = 16

  static func decode(_ fields: Fields) throws(ConfigProblem) -> ReferenceGrantObject {
    let spec = try fields.required("spec").fields(Schemas.grantSpec)
    var grant = ReferenceGrantObject()
    for field in try spec.required("from").list(upTo: maximumEntries) {
      let from = try field.fields(Schemas.grantFrom)
      grant.from.append(
        .init(
          group: try from["group"]?.text() ?? "", kind: try from.required("kind").text(),
          namespace: try from.required("namespace").label()))
    }
    for field in try spec.required("to").list(upTo: maximumEntries) {
      let to = try field.fields(Schemas.grantTo)
      grant.to.append(
        .init(
          group: try to["group"]?.text() ?? "", kind: try to.required("kind").text(),
          name: try to["name"]?.subdomain() ?? ""))
    }
    for (name, isEmpty) in [("from", grant.from.isEmpty), ("to", grant.to.isEmpty)] where isEmpty {
      throw (spec[name] ?? spec.parent).problem("is empty")
    }
    return grant
  }
}
